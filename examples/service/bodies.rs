//! The bodies that clients send: made once from a fixed seed, the same for every service and round.

use fastrand::Rng;
use hyper::body::Bytes;

use crate::document::Document;

const SEED: u64 = 0x5e_ed0f_ba1d;
const DOCUMENTS: usize = 1024;
const IMPORTS: usize = 16;
const DOCUMENTS_PER_IMPORT: usize = 512;

pub(crate) struct Bodies {
    documents: Vec<Bytes>,
    imports: Vec<Bytes>,
}

impl Bodies {
    pub(crate) fn generate() -> Self {
        let mut rng = Rng::with_seed(SEED);
        let documents: Vec<_> = (0..DOCUMENTS as u32).map(|number| render(number, &mut rng)).collect();
        let imports = (0..IMPORTS).map(|_| bundle(&documents, &mut rng)).collect();
        Self { documents, imports }
    }

    /// Any document.
    pub(crate) fn document(&self, rng: &mut Rng) -> Bytes {
        self.documents[rng.usize(..DOCUMENTS)].clone()
    }

    /// Many documents in one body.
    pub(crate) fn import(&self, batch: usize) -> Bytes {
        self.imports[batch % IMPORTS].clone()
    }

    /// Is `answer`, byte for byte, a document that was sent?
    pub(crate) fn knows(&self, answer: &[u8]) -> bool {
        number(answer).and_then(|number| self.documents.get(number)).is_some_and(|sent| *sent == answer)
    }
}

fn render(number: u32, rng: &mut Rng) -> Bytes {
    let document = Document::generate(number, rng);
    serde_json::to_vec(&document).expect("a document has no map with keys that JSON lacks").into()
}

fn bundle(documents: &[Bytes], rng: &mut Rng) -> Bytes {
    let mut bundle = vec![b'['];
    for _ in 0..DOCUMENTS_PER_IMPORT {
        bundle.extend_from_slice(&documents[rng.usize(..documents.len())]);
        bundle.push(b',');
    }
    bundle.pop();
    bundle.push(b']');
    bundle.into()
}

/// The number a rendered document begins with.
fn number(rendered: &[u8]) -> Option<usize> {
    let rest = rendered.strip_prefix(br#"{"number":"#)?;
    let digits = rest.split(|&byte| byte == b',').next()?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}
