//! A full barrier for all threads of the process.

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
mod imp {
    const FENCE: libc::c_int = 1 << 3;
    const REGISTER: libc::c_int = 1 << 4;

    fn call(command: libc::c_int) -> bool {
        // SAFETY: touches no memory.
        super::super::imp::quietly(|| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 })
    }

    pub(crate) fn is_allowed() -> bool {
        // To ask again costs nothing; the first time, with other threads there, the kernel waits for all CPUs, 10 ms or so.
        call(REGISTER)
    }

    pub(crate) fn heavy() -> bool {
        call(FENCE)
    }
}

#[cfg(windows)]
mod imp {
    pub(crate) fn is_allowed() -> bool {
        true
    }

    pub(crate) fn heavy() -> bool {
        // SAFETY: touches no memory.
        unsafe { windows_sys::Win32::System::Threading::FlushProcessWriteBuffers() };
        true
    }
}

#[cfg(not(any(all(any(target_os = "linux", target_os = "android"), not(miri)), windows)))]
mod imp {
    pub(crate) fn is_allowed() -> bool {
        false
    }

    pub(crate) fn heavy() -> bool {
        false
    }
}

/// Whether the system grants it to this process; to be asked first.
pub(crate) fn is_allowed() -> bool {
    imp::is_allowed()
}

/// Makes every thread of the process pass a full barrier between two of its instructions; whether that was done.
pub(crate) fn heavy() -> bool {
    #[cfg(test)]
    if super::refusals::is_next() {
        return false;
    }
    imp::heavy()
}
