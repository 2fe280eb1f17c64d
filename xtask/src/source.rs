//! One Rust file as its tokens.
//!
//! ```text
//!   text ──lex──▶ tokens, flat         comments are gone; a string is one Literal
//!                 ├ pair               an Open knows its Close, a Close its Open
//!                 └ test               inside an item under #[cfg(test)] or #[cfg(all(test, ..))]
//! ```
//!
//! The checks ask questions of the flat list; none of them parses Rust further than that.

use core::ops::Range;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// What a token is, as far as the checks care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Word,
    Mark,
    Open,
    Close,
    Literal,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) range: Range<usize>,
    pub(crate) line: usize,
    /// The index of the other delimiter; for any other token, its own.
    pub(crate) pair: usize,
    /// Compiled for tests only.
    pub(crate) test: bool,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }
}

pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
}

/// A function's name and its lines, signature to closing brace.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) lines: Range<usize>,
    pub(crate) test: bool,
}

/// Words that begin no path, although a path may follow them.
const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "fn", "for", "if", "impl",
    "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct", "trait", "type",
    "unsafe", "use", "where", "while", "yield",
];

/// `a::b` wherever it stands, the groups of a `use` multiplied out; `*` is a segment.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct NamePath {
    pub(crate) segments: Vec<String>,
    /// The token that begins the last segment.
    pub(crate) at: usize,
    /// The token that begins the whole path.
    pub(crate) start: usize,
}

impl Source {
    pub(crate) fn read(root: &Path, path: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))?;
        Self::lex(path, text)
    }

    pub(crate) fn lex(path: &str, text: String) -> Result<Self, String> {
        let stream: TokenStream = text.parse().map_err(|e: proc_macro2::LexError| {
            format!("{path}:{}: this is not Rust that can be read: {e}", e.span().start().line)
        })?;
        let mut tokens = Vec::new();
        flatten(&text, stream, &mut tokens);
        mark_tests(&mut tokens);
        Ok(Self { path: path.into(), text, tokens })
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let starts = (0..self.tokens.len()).filter(|&i| self.tokens[i].is("fn"));
        starts.filter_map(|i| self.function_at(i)).collect()
    }

    fn function_at(&self, at: usize) -> Option<Function> {
        let name = self.tokens.get(at + 1)?;
        let (Kind::Word | Kind::Mark) = name.kind else {
            return None;
        };
        let last = &self.tokens[item_end(&self.tokens, at, &[";"])];
        let lines = self.tokens[at].line..last.line;
        last.is("}").then(|| Function { name: name.text.clone(), lines, test: name.test })
    }

    /// The innermost function around a line.
    pub(crate) fn function_around(&self, line: usize) -> Option<String> {
        let around = self.functions().into_iter().filter(|f| (f.lines.start..=f.lines.end).contains(&line));
        around.min_by_key(|f| f.lines.len()).map(|f| f.name)
    }

    /// Which tokens are part of a `use` item.
    pub(crate) fn in_use(&self) -> Vec<bool> {
        let mut marks = vec![false; self.tokens.len()];
        for at in (0..self.tokens.len()).filter(|&i| self.tokens[i].is("use")) {
            let end = find_end(&self.tokens, at, &[";"], false);
            marks[at..=end].fill(true);
        }
        marks
    }

    /// Every path of the file, in order.
    pub(crate) fn paths(&self) -> Vec<NamePath> {
        let mut paths = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            at = if self.begins_path(at) { self.path_tree(at, at, &[], &mut paths) } else { at + 1 };
        }
        paths
    }

    fn begins_path(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        let before = |n: usize| at.checked_sub(n).map_or("", |i| self.tokens[i].text.as_str());
        let continues = before(1) == "." || (before(1) == "::" && before(2) == ">");
        token.kind == Kind::Word && !KEYWORDS.contains(&token.text.as_str()) && !continues
    }

    /// Reads the path or use-tree at `at` below `prefix`; returns the first token it did not read.
    fn path_tree(&self, mut at: usize, start: usize, prefix: &[String], out: &mut Vec<NamePath>) -> usize {
        let mut segments = prefix.to_vec();
        let mut last = at;
        while let Some(token) = self.tokens.get(at) {
            if token.is("{") {
                return self.path_group(at, start, &segments, out);
            }
            if token.kind != Kind::Word && !token.is("*") {
                break;
            }
            segments.push(token.text.clone());
            last = at;
            at += 1;
            let joined = self.tokens.get(at).is_some_and(|t| t.is("::"));
            let next = self.tokens.get(at + 1);
            if !joined || !next.is_some_and(|t| t.kind == Kind::Word || t.is("*") || t.is("{")) {
                break;
            }
            at += 1;
        }
        out.push(NamePath { segments, at: last, start });
        at.max(last + 1)
    }

    fn path_group(&self, open: usize, start: usize, prefix: &[String], out: &mut Vec<NamePath>) -> usize {
        let close = self.tokens[open].pair;
        let mut at = open + 1;
        while at < close {
            if self.tokens[at].is("::") {
                at += 1;
            }
            at = self.path_tree(at, start, prefix, out);
            while at < close && !self.tokens[at].is(",") {
                at += 1; // `as Name`
            }
            at += 1;
        }
        close + 1
    }

    /// The inline modules that a token stands in, outermost first.
    pub(crate) fn modules_around(&self, at: usize) -> Vec<String> {
        let named = |i: usize| self.tokens[i].is("mod") && self.tokens[i + 1].kind == Kind::Word;
        let open = |i: usize| self.tokens[i + 2].is("{") && (i + 2..self.tokens[i + 2].pair).contains(&at);
        let last = self.tokens.len().saturating_sub(2);
        (0..last).filter(|&i| named(i) && open(i)).map(|i| self.tokens[i + 1].text.clone()).collect()
    }
}

/// All `.rs` files below `dir`, as sorted paths from `root`.
pub(crate) fn rust_files(root: &Path, dir: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(dir)];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for path in entries.flatten().map(|e| e.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let below = path.strip_prefix(root).map_err(|e| e.to_string())?;
                found.push(below.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn flatten(text: &str, stream: TokenStream, out: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            // A doc comment comes as the tokens of `#[doc = ".."]`, all with the place of the comment.
            TokenTree::Punct(p) if text[p.span().byte_range()].starts_with('/') && p.as_char() != '/' => {
                while !matches!(trees.next(), Some(TokenTree::Group(_)) | None) {}
            }
            TokenTree::Punct(p) => {
                let joint = p.spacing() == Spacing::Joint;
                let mut range = p.span().byte_range();
                let next = match (p.as_char(), trees.peek()) {
                    (':', Some(TokenTree::Punct(q))) if joint && q.as_char() == ':' => Some(q.span()),
                    ('\'', Some(TokenTree::Ident(lifetime))) => Some(lifetime.span()),
                    _ => None,
                };
                if let Some(second) = next {
                    range.end = second.byte_range().end;
                    trees.next();
                }
                push(text, out, Kind::Mark, range, p.span().start().line);
            }
            TokenTree::Ident(i) => push(text, out, Kind::Word, i.span().byte_range(), i.span().start().line),
            TokenTree::Literal(l) => push(text, out, Kind::Literal, l.span().byte_range(), l.span().start().line),
            TokenTree::Group(g) if g.delimiter() == Delimiter::None => flatten(text, g.stream(), out),
            TokenTree::Group(g) => {
                let (open, close) = (g.span_open(), g.span_close());
                let first = out.len();
                push(text, out, Kind::Open, open.byte_range(), open.start().line);
                flatten(text, g.stream(), out);
                out[first].pair = out.len();
                push(text, out, Kind::Close, close.byte_range(), close.start().line);
                out.last_mut().expect("just pushed").pair = first;
            }
        }
    }
}

fn push(text: &str, out: &mut Vec<Token>, kind: Kind, range: Range<usize>, line: usize) {
    let pair = out.len();
    out.push(Token { kind, text: text[range.clone()].into(), range, line, pair, test: false });
}

fn mark_tests(tokens: &mut [Token]) {
    for at in 0..tokens.len().saturating_sub(1) {
        if tokens[at].is("#") && tokens[at + 1].is("[") {
            let close = tokens[at + 1].pair;
            if is_test_gate(&tokens[at + 2..close]) {
                let end = gated_end(tokens, close + 1);
                tokens[at..=end].iter_mut().for_each(|t| t.test = true);
            }
        }
    }
}

/// `cfg(..)` whose condition cannot hold outside a test build.
fn is_test_gate(attribute: &[Token]) -> bool {
    match attribute {
        [cfg, open, condition @ .., close] if cfg.is("cfg") && open.is("(") && close.is(")") => implies_test(condition),
        _ => false,
    }
}

fn implies_test(condition: &[Token]) -> bool {
    match condition {
        [only] => only.is("test"),
        [name, open, inner @ .., close] if open.is("(") && close.is(")") => {
            let mut parts = split_commas(inner).into_iter().filter(|p| !p.is_empty());
            match name.text.as_str() {
                "all" => parts.any(implies_test),
                "any" => !inner.is_empty() && parts.all(implies_test),
                _ => false,
            }
        }
        _ => false,
    }
}

fn split_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0usize;
    tokens
        .split(|t| {
            match t.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                _ => {}
            }
            depth == 0 && t.is(",")
        })
        .collect()
}

/// The last token of what an attribute that ended before `at` is about. Where that is unclear it is
/// taken to be short: then a check says too much, which is seen, instead of too little.
fn gated_end(tokens: &[Token], mut at: usize) -> usize {
    while at + 1 < tokens.len() && tokens[at].is("#") && tokens[at + 1].is("[") {
        at = tokens[at + 1].pair + 1;
    }
    if tokens.get(at).is_some_and(|t| t.is("pub")) {
        at += 1;
        if tokens.get(at).is_some_and(|t| t.is("(")) {
            at = tokens[at].pair + 1;
        }
    }
    let Some(first) = tokens.get(at) else {
        return tokens.len() - 1;
    };
    let second = tokens.get(at + 1).map_or("", |t| t.text.as_str());
    match first.text.as_str() {
        "const" if !matches!(second, "fn" | "unsafe" | "async" | "extern") => find_end(tokens, at, &[";"], false),
        "use" | "type" | "static" | "let" => find_end(tokens, at, &[";"], false),
        "fn" | "mod" | "struct" | "enum" | "union" | "trait" | "impl" | "unsafe" | "extern" | "async" | "const" => {
            item_end(tokens, at, &[";"])
        }
        _ => item_end(tokens, at, &[";", ","]),
    }
}

/// The end of an item that a brace or one of `stops` closes.
fn item_end(tokens: &[Token], at: usize, stops: &[&str]) -> usize {
    find_end(tokens, at, stops, true)
}

fn find_end(tokens: &[Token], mut at: usize, stops: &[&str], brace_ends: bool) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.kind {
            Kind::Close => return at - 1,
            Kind::Open => {
                let close = token.pair;
                // `Heap<{ 64 << 20 }>` is no body.
                let argument = tokens.get(close + 1).is_some_and(|t| t.is(">") || t.is(","));
                if brace_ends && token.is("{") && !argument {
                    return close;
                }
                at = close + 1;
            }
            _ if stops.contains(&token.text.as_str()) => return at,
            _ => at += 1,
        }
    }
    tokens.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str) -> Source {
        Source::lex("src/x.rs", text.into()).unwrap()
    }

    fn names(text: &str) -> Vec<String> {
        lex(text).paths().into_iter().map(|p| p.segments.join("::")).filter(|p| p.contains("::")).collect()
    }

    fn shipped_words(text: &str) -> Vec<String> {
        let words = lex(text).tokens.into_iter().filter(|t| t.kind == Kind::Word && !t.test);
        words.map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_strings_are_no_words() {
        let text = "//! std::a\n/// std::b\n/* std::c */ fn f() { g(\"std::d\", r#\"std::e\"#, 's') } // std::f\n/** std::g */ struct S;";
        assert_eq!(shipped_words(text), ["fn", "f", "g", "struct", "S"]);
    }

    #[test]
    fn tokens_know_their_lines_beyond_ascii() {
        let source = lex("// ─▶ 1\nfn ü() {}\n/* two\nlines */ struct Z;");
        let z = source.tokens.iter().find(|t| t.is("Z")).unwrap();
        assert_eq!((z.line, &source.text[z.range.clone()]), (4, "Z"));
    }

    #[test]
    fn groups_multiply_out() {
        assert_eq!(
            names("use crate::{a, b::c, d::{e, f as g}, self, h::*};"),
            ["crate::a", "crate::b::c", "crate::d::e", "crate::d::f", "crate::self", "crate::h::*"]
        );
    }

    #[test]
    fn paths_are_found_in_expressions_types_and_macros() {
        let text =
            "fn f(x: &'static crate::a::T) { m!(crate::b::g::<crate::c::U>(std::d::<u8>::e)); return ::libc::x }";
        assert_eq!(names(text), ["crate::a::T", "crate::b::g", "crate::c::U", "std::d", "libc::x"]);
        assert_eq!(names("use ::atomic::Atomic; use {core::x, ::std::y};"), ["atomic::Atomic", "core::x", "std::y"]);
        assert!(names("fn f() { self.loom::<u8>() }").is_empty());
    }

    #[test]
    fn test_items_are_marked_and_nothing_behind_them() {
        for gated in [
            "#[cfg(test)] mod tests { fn a() {} }",
            "#[cfg(all(test, loom))] #[path = \"x\"] mod a;",
            "#[cfg(all(loom, test))] pub(crate) const A: [u8; { 3 }] = { a };",
            "#[cfg(any(test, all(test, loom)))] fn a<A, B>() -> A { a }",
            "#[cfg(test)] use a::{b, c};",
            "#[cfg(test)] static A: Heap<{ 1 << 3 }> = a;",
            "#[cfg(test)] unsafe impl A<{ 1 }> for B { a }",
        ] {
            assert_eq!(shipped_words(&format!("{gated} fn seen() {{}}")), ["fn", "seen"], "{gated}");
        }
    }

    #[test]
    fn other_gates_and_the_code_behind_a_gated_statement_stay() {
        for shipped in
            ["#[cfg(not(test))] fn a() {}", "#[cfg(any(test, unix))] fn a() {}", "#[cfg_attr(test, b)] fn a() {}"]
        {
            assert!(shipped_words(shipped).contains(&"a".into()), "{shipped}");
        }
        let words = shipped_words("fn f() { #[cfg(test)] if a { b } c(); } struct S { #[cfg(test)] d: u8, e: u8 }");
        assert_eq!(words, ["fn", "f", "c", "struct", "S", "e", "u8"]);
    }

    #[test]
    fn functions_have_names_and_lines() {
        let source = lex(
            "fn a() {\n}\ntrait T { fn b(); }\nfn c(x: A<{ 1 }>)\nwhere u8: Copy,\n{\n fn d() {} }\ntype F = fn(u8);",
        );
        let found: Vec<_> = source.functions().into_iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(found, [("a".into(), 1..2), ("c".into(), 4..7), ("d".into(), 7..7)]);
        assert_eq!(source.function_around(6).as_deref(), Some("c"));
    }

    #[test]
    fn inline_modules_are_known() {
        let source = lex("mod a { mod b { x } } mod c;");
        let x = source.tokens.iter().position(|t| t.is("x")).unwrap();
        assert_eq!(source.modules_around(x), ["a", "b"]);
        assert!(source.modules_around(0).is_empty());
    }

    #[test]
    fn broken_rust_is_an_error_with_a_line() {
        let error = Source::lex("src/x.rs", "fn a() {}\nfn b( {".into()).err().unwrap();
        assert!(error.starts_with("src/x.rs:"), "{error}");
    }
}
