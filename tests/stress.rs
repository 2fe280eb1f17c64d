//! Random operations from several threads on each back-end, blocks handed between threads, and a reckoning at the end.
//!
//! Also meant for the sanitizers and, with tiny counts, for Miri with strict provenance.

mod common;

#[cfg(all(feature = "std", not(miri)))]
use bandolier::Os;
use bandolier::{Arena, Backend, Bandolier, FromGlobal};
use common::{Block, Dice, rounded, scaled, turns};
use core::alloc::{GlobalAlloc, Layout};
use std::alloc::System;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const THREADS: usize = if cfg!(miri) { 2 } else { 4 };
const TURNS: usize = turns(60_000, 12_000, 80);
const MOST_HELD: usize = scaled(300, 200, 20);

/// One thread of the crowd.
struct Worker<B: Backend> {
    heap: Arc<Bandolier<B>>,
    dice: Dice,
    held: Vec<Block>,
    /// The largest size that is asked for.
    most: usize,
    mates: Vec<Sender<Block>>,
    post: Receiver<Block>,
    stamps: u64,
}

impl<B: Backend> Worker<B> {
    fn some(&mut self) -> Option<Block> {
        let count = self.held.len();
        (count > 0).then(|| self.held.swap_remove(self.dice.below(count)))
    }

    fn alloc(&mut self) {
        let layout = self.dice.layout(self.most);
        self.stamps += 1;
        let zeroed = self.dice.below(4) == 0;
        let make = if zeroed { Block::zeroed } else { Block::new };
        self.held.extend(make(&*self.heap, layout, self.stamps));
    }

    fn resize(&mut self) {
        let Some(block) = self.some() else { return };
        let size = self.dice.size(self.most);
        let (Ok(block) | Err(block)) = block.resize(&*self.heap, size);
        self.held.push(block);
    }

    fn send(&mut self) {
        let Some(block) = self.some() else { return };
        let mate = self.dice.below(self.mates.len());
        if let Err(returned) = self.mates[mate].send(block) {
            self.held.push(returned.0);
        }
    }

    fn receive(&mut self) {
        while let Ok(block) = self.post.try_recv() {
            block.check();
            self.held.push(block);
        }
    }

    fn turn(&mut self) {
        match self.dice.below(1000) {
            0..430 if self.held.len() < MOST_HELD => self.alloc(),
            430..550 => self.resize(),
            550..700 => self.send(),
            700..760 => self.receive(),
            760..763 => drop(self.heap.reclaim()),
            763..770 => self.heap.flush_thread(),
            770..772 => drop(self.heap.stats()),
            _ => self.some().into_iter().for_each(|block| block.free(&*self.heap)),
        }
    }

    fn run(mut self) -> (Vec<Block>, Receiver<Block>) {
        (0..TURNS).for_each(|_| self.turn());
        (self.held, self.post)
    }
}

/// Lets a crowd loose on `heap`, and checks what is left.
fn stress<B: Backend + Send + 'static>(heap: Bandolier<B>, seed: u64, most: usize) {
    let heap = Arc::new(heap);
    let (mates, posts): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let spawn = |(number, post)| {
        let worker = Worker {
            heap: heap.clone(),
            dice: Dice::new(seed + number),
            held: Vec::new(),
            most,
            mates: mates.clone(),
            post,
            stamps: (seed + number) << 40,
        };
        thread::spawn(move || worker.run())
    };
    let crowd: Vec<_> = (0..).zip(posts).map(spawn).collect();
    drop(mates);
    let mut left = Vec::new();
    for worker in crowd {
        let (held, post) = worker.join().unwrap();
        left.extend(held);
        left.extend(post);
    }
    reckon(&heap, left);
}

/// Compares the heap's figures with the blocks that are live, frees those, and wants everything back.
fn reckon<B: Backend>(heap: &Bandolier<B>, left: Vec<Block>) {
    let live: usize = left.iter().map(|block| rounded::<B>(block.layout())).sum();
    assert_eq!(heap.stats().in_use, live);
    assert_eq!(heap.stats().threads, 0);
    for block in left {
        block.free(heap);
    }
    heap.flush_thread();
    assert_eq!(heap.stats().in_use, 0);
    let _ = heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.in_use, stats.cached, stats.large), (0, 0, 0));
    assert_eq!(stats.from_backend, stats.metadata, "segments stay without a block in them");
    assert!(stats.classes.iter().all(|class| class.slabs == 0 && class.taken == 0));
}

const MOST: usize = scaled(3 << 20, 3 << 20, 40 << 10);

fn from_system() -> FromGlobal<System> {
    FromGlobal::new(&System)
}

#[test]
fn from_global_with_thread_caches() {
    stress(Bandolier::with_backend(from_system()), 100, MOST);
}

#[test]
fn from_global_through_shared_slots() {
    stress(Bandolier::with_backend(from_system()).without_thread_caches(), 200, MOST);
}

const SMALL: usize = scaled(8 << 20, 8 << 20, 512 << 10);

#[test]
fn a_small_arena_with_thread_caches() {
    static ARENA: Arena<SMALL> = Arena::new();
    stress(Bandolier::with_backend(&ARENA), 300, MOST);
}

#[test]
fn a_small_arena_through_shared_slots() {
    static ARENA: Arena<SMALL> = Arena::new();
    stress(Bandolier::with_backend(&ARENA).without_thread_caches(), 400, MOST);
}

#[test]
#[cfg(not(miri))]
fn a_large_arena() {
    static ARENA: Arena<{ 512 << 20 }> = Arena::new();
    stress(Bandolier::with_backend(&ARENA), 500, MOST);
}

#[test]
#[cfg(all(feature = "std", not(miri)))]
fn the_operating_system_with_thread_caches() {
    stress(Bandolier::new(), 600, MOST);
}

#[test]
#[cfg(all(feature = "std", not(miri)))]
fn the_operating_system_through_shared_slots() {
    stress(Bandolier::with_backend(Os).without_thread_caches(), 700, MOST);
}

#[test]
#[cfg(all(feature = "std", not(miri)))]
fn the_operating_system_per_cpu() {
    stress(Bandolier::with_backend(Os).per_cpu(), 900, MOST);
}

#[test]
#[cfg(not(miri))]
fn from_global_per_cpu() {
    stress(Bandolier::with_backend(from_system()).per_cpu(), 1000, MOST);
}

#[test]
#[cfg(all(feature = "std", not(miri)))]
fn the_operating_system_per_cpu_and_per_thread() {
    stress(Bandolier::with_backend(Os).hybrid(), 1100, MOST);
}

/// Threads that have a cache for the heap of the process have another for this one.
#[test]
#[cfg(all(feature = "std", not(miri)))]
fn the_operating_system_with_thread_caches_of_another_heap() {
    stress(Bandolier::with_backend(Os), 800, MOST);
}

#[test]
#[cfg(all(feature = "std", not(miri)))]
fn a_back_end_that_counts() {
    let (heap, account) = common::threaded(bandolier::Os);
    stress(heap, 800, MOST);
    assert_eq!(account.outstanding(), 0);
}

/// One size, so that all threads meet in one class: the depot's and the slabs' exchanges collide all the time.
#[test]
fn one_class_only() {
    let heap = Arc::new(Bandolier::with_backend(from_system()));
    let (send, receive) = channel::<Block>();
    let makers: Vec<_> = (0..THREADS as u64)
        .map(|number| {
            let (heap, send) = (heap.clone(), send.clone());
            thread::spawn(move || {
                for turn in 0..turns(100_000, 20_000, 100) as u64 {
                    let block = Block::new(&*heap, common::layout(64, 8), number << 32 | turn).unwrap();
                    if turn % 3 == 0 {
                        block.free(&*heap);
                    } else {
                        send.send(block).unwrap();
                    }
                }
            })
        })
        .collect();
    drop(send);
    let mut left = Vec::new();
    receive.into_iter().for_each(|block| if left.len() < MOST_HELD { left.push(block) } else { block.free(&*heap) });
    makers.into_iter().for_each(|maker| maker.join().unwrap());
    heap.flush_thread();
    for block in &left {
        block.check();
    }
    let heap = Arc::into_inner(heap).unwrap();
    let live: usize = left.iter().map(|block| rounded::<FromGlobal<System>>(block.layout())).sum();
    assert_eq!(heap.stats().in_use, live);
    left.into_iter().for_each(|block| block.free(&heap));
    let _ = heap.reclaim();
    assert_eq!(heap.stats().from_backend, heap.stats().metadata);
}

/// Hardly any work between two exchanges on the same word, so that a lost update cannot hide: each thread takes and gives
/// blocks of `size`, marked at their first word only.
fn hammer<B: Backend + Send + 'static>(heap: Bandolier<B>, sizes: &'static [usize], turns: usize) {
    const HELD: usize = 8;
    let heap = Arc::new(heap);
    let threads: Vec<_> = (0..THREADS as u64)
        .map(|number| {
            let heap = heap.clone();
            thread::spawn(move || {
                let mut dice = Dice::new(number);
                let mut held = [const { None::<Marked> }; HELD];
                for turn in 0..turns as u64 {
                    let place = dice.below(HELD);
                    held[place] = match held[place].take() {
                        Some(marked) => {
                            marked.free(&*heap);
                            None
                        }
                        None => Some(Marked::new(&*heap, sizes[dice.below(sizes.len())], number << 40 | turn)),
                    };
                }
                held.into_iter().flatten().for_each(|marked| marked.free(&*heap));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    reckon(&heap, Vec::new());
}

/// A block that knows its first word.
struct Marked(*mut u64, Layout, u64);

impl Marked {
    fn new(heap: &impl GlobalAlloc, size: usize, mark: u64) -> Self {
        let of = common::layout(size, 8);
        // SAFETY: the size is not zero.
        let start = unsafe { heap.alloc(of) }.cast::<u64>();
        assert!(!start.is_null());
        // SAFETY: ours, aligned, and no smaller than a word.
        unsafe { start.write(mark) };
        Self(start, of, mark)
    }

    fn free(self, heap: &impl GlobalAlloc) {
        let Self(start, of, mark) = self;
        // SAFETY: live, and written by `new`.
        assert_eq!(unsafe { start.read() }, mark, "somebody else has this block of {} bytes too", of.size());
        // SAFETY: live, of this layout.
        unsafe { heap.dealloc(start.cast(), of) };
    }
}

/// Every operation is an exchange on a segment's word.
#[test]
fn runs_only() {
    hammer(Bandolier::with_backend(from_system()), &[40_000, 65_536, 100_000, 200_000], turns(1_500_000, 200_000, 60));
}

/// Magazines of two rounds: every other operation is an exchange on the depot's stack.
#[test]
fn the_largest_chunks_only() {
    hammer(Bandolier::with_backend(from_system()), &[32 << 10], turns(1_500_000, 200_000, 60));
}

/// All threads claim the same few slots.
#[test]
fn shared_slots_only() {
    let heap = Bandolier::with_backend(from_system()).without_thread_caches();
    hammer(heap, &[64, 32 << 10], turns(1_500_000, 200_000, 60));
}
