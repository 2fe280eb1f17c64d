//! What a service does with JSON: a document parsed into a tree of values, walked, serialised again, and dropped.
//!
//! A pair is one record of the document.

use super::Workload;
use crate::dice::Dice;
use core::hint::black_box;
use serde_json::{Value, json};

/// In the document.
const RECORDS: usize = 100;

pub(super) struct Json {
    text: String,
}

fn record(number: usize, dice: &mut Dice) -> Value {
    let lines = dice.below(4) + 1;
    let lines: Vec<_> = (0..lines).map(|line| order_line(line, dice)).collect();
    json!({
        "id": dice.roll(),
        "name": format!("Customer {number}"),
        "mail": format!("customer-{:x}@example.org", dice.roll()),
        "active": dice.below(2) == 0,
        "note": "n".repeat(64 + dice.below(64)),
        "address": {
            "street": format!("{} Long Street", dice.below(1_000)),
            "city": "Anytown",
            "place": { "lat": dice.below(5_760) as f64 / 64.0, "lon": dice.below(11_520) as f64 / 64.0 },
        },
        "tags": ["new", "web", null, format!("t{}", dice.below(100))],
        "lines": lines,
    })
}

fn order_line(line: usize, dice: &mut Dice) -> Value {
    json!({ "line": line, "article": format!("A-{:08x}", dice.roll() as u32), "count": dice.below(10), "price": 9.5 })
}

/// Every string and number is looked at.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.as_f64().map_or(0, |number| number as usize % 2),
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + weight(value)).sum(),
    }
}

impl Workload for Json {
    /// One document.
    const UNIT: u64 = RECORDS as u64;

    type Hand = ();

    fn new(_threads: usize) -> Self {
        let mut dice = Dice::of(0);
        let records: Vec<_> = (0..RECORDS).map(|number| record(number, &mut dice)).collect();
        Self { text: json!({ "kind": "customers", "records": records }).to_string() }
    }

    fn hand(&self, _thread: usize) {}

    fn run(&self, _hand: &mut (), pairs: u64) {
        for _ in 0..pairs / Self::UNIT {
            let document: Value = serde_json::from_str(&self.text).expect("it was made by the same crate");
            black_box(weight(&document));
            black_box(document.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Json;
    use crate::workloads::Workload;
    use serde_json::Value;

    #[test]
    fn the_document_has_50_kib_and_comes_back() {
        let Json { text } = Json::new(1);
        assert!((48..52).contains(&(text.len() >> 10)), "{}", text.len());
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document.to_string(), text);
    }
}
