/* What Rust's standard library wants of bcryptprimitives.dll, for a wine that has none. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T bytes) { return RtlGenRandom(to, (ULONG)bytes); }
