//! What is counted in a crate.

use std::path::{Path, PathBuf};

use super::law;
use super::source::Source;
use crate::workspace;

/// One number about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was counted.
    pub measure: Measure,
    /// A file, a file and function, or a crate, relative to the root.
    pub place: String,
    /// The number.
    pub value: u64,
}

/// The things counted, each with a goal that needs no excuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Lines in a file.
    FileLines,
    /// Lines in a function.
    FunctionLines,
    /// Median of `FileLines` over a crate.
    FileMedian,
    /// Median of `FunctionLines` over a crate, tests left out.
    FunctionMedian,
    /// Lines per thousand that are not doc comments, in a crate, tests left out.
    Undocumented,
    /// Uses of `unsafe` in a file.
    Unsafe,
    /// Marks of unfinished work in a file.
    Unfinished,
    /// In a core: names of clocks, files, sockets, threads and unordered maps.
    Impure,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 8] = [
        Measure::FileLines,
        Measure::FunctionLines,
        Measure::FileMedian,
        Measure::FunctionMedian,
        Measure::Undocumented,
        Measure::Unsafe,
        Measure::Unfinished,
        Measure::Impure,
    ];

    /// Its name in the baseline.
    pub fn name(self) -> &'static str {
        match self {
            Measure::FileLines => "file-lines",
            Measure::FunctionLines => "function-lines",
            Measure::FileMedian => "file-median",
            Measure::FunctionMedian => "function-median",
            Measure::Undocumented => "undocumented-permille",
            Measure::Unsafe => "unsafe",
            Measure::Unfinished => "unfinished",
            Measure::Impure => "impure",
        }
    }

    /// The largest number that needs no line in the baseline.
    pub fn goal(self) -> u64 {
        match self {
            Measure::FileLines => 500,
            Measure::FunctionLines => 70,
            Measure::FileMedian => 300,
            Measure::FunctionMedian => 10,
            Measure::Undocumented => 900,
            Measure::Unsafe | Measure::Unfinished | Measure::Impure => 0,
        }
    }

    /// What to do about too large a number.
    pub fn advice(self) -> &'static str {
        match self {
            Measure::FileLines => "find the seam and split the file",
            Measure::FunctionLines => "take the leaves out into functions of their own",
            Measure::FileMedian => "the crate's files are long: split by what they model",
            Measure::FunctionMedian => "the crate's functions are long: name their parts",
            Measure::Undocumented => "say at the heads of modules and items what they model",
            Measure::Unsafe => "find a safe way; if there is none, say in the file why it is sound",
            Measure::Unfinished => "finish it or take it out",
            Measure::Impure => "a core gets time, randomness and bytes as arguments",
        }
    }
}

/// Everything about one crate: numbers for the table, and findings by place.
pub struct CrateNumbers {
    /// The crate's folder, relative to the root.
    pub folder: PathBuf,
    /// Files; median and largest length in lines.
    pub files: (usize, u64, u64),
    /// Functions outside tests; median and largest length in lines.
    pub functions: (usize, u64, u64),
    /// Doc comment lines per thousand.
    pub docs_permille: u64,
    /// What the baseline is compared with.
    pub findings: Vec<Finding>,
}

/// Measures the crate in `folder`.
pub fn measure(folder: &Path) -> CrateNumbers {
    let mut tally = Tally { core: law::is_core(folder), ..Tally::default() };
    for path in workspace::rust_files(folder) {
        let text = std::fs::read_to_string(workspace::root().join(&path)).unwrap_or_default();
        tally.file(folder, &path, &text);
    }
    tally.finish(folder)
}

/// What was found so far in a crate.
#[derive(Default)]
struct Tally {
    core: bool,
    files: Vec<u64>,
    functions: Vec<u64>,
    docs: (usize, usize),
    findings: Vec<Finding>,
}

impl Tally {
    fn file(&mut self, folder: &Path, path: &Path, text: &str) {
        let source = Source::new(text, is_test_file(folder, path));
        let place = path.display().to_string();
        self.files.push(source.raw.len() as u64);
        self.find(Measure::FileLines, &place, source.raw.len() as u64);
        self.find(Measure::Unsafe, &place, count_words(&source, "unsafe"));
        self.find(Measure::Unfinished, &place, count_unfinished(&source));
        if self.core {
            self.find(Measure::Impure, &place, law::impurities(&source).len() as u64);
        }
        self.count_functions(&source, &place);
        let (docs, lines) = source.doc_lines();
        self.docs = (self.docs.0 + docs, self.docs.1 + lines);
    }

    fn count_functions(&mut self, source: &Source, place: &str) {
        for function in source.functions() {
            if !source.is_test(function.line) {
                self.functions.push(function.lines as u64);
            }
            self.find(Measure::FunctionLines, &format!("{place}::{}", function.name), function.lines as u64);
        }
    }

    fn find(&mut self, measure: Measure, place: &str, value: u64) {
        if value > 0 {
            self.findings.push(Finding { measure, place: place.to_owned(), value });
        }
    }

    fn finish(mut self, folder: &Path) -> CrateNumbers {
        let place = folder.display().to_string();
        let files = spread(&mut self.files);
        let functions = spread(&mut self.functions);
        let docs_permille = (self.docs.0 * 1000 / self.docs.1.max(1)) as u64;
        self.find(Measure::FileMedian, &place, files.1);
        self.find(Measure::FunctionMedian, &place, functions.1);
        self.find(Measure::Undocumented, &place, 1000 - docs_permille);
        CrateNumbers {
            folder: folder.to_path_buf(),
            files,
            functions,
            docs_permille,
            findings: self.findings,
        }
    }
}

/// How many, the median and the largest.
fn spread(numbers: &mut [u64]) -> (usize, u64, u64) {
    numbers.sort_unstable();
    let middle = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
    (numbers.len(), middle, numbers.last().copied().unwrap_or(0))
}

fn is_test_file(folder: &Path, path: &Path) -> bool {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let mut parts = inside.iter().filter_map(|part| part.to_str());
    parts.any(|part| {
        matches!(part, "tests" | "tests.rs" | "test_support.rs" | "testing.rs" | "benches" | "examples")
    })
}

fn count_words(source: &Source, word: &str) -> u64 {
    let words = source.code.iter().flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|candidate| *candidate == word).count() as u64
}

fn count_unfinished(source: &Source) -> u64 {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let calls = ["todo!", "unimplemented!"];
    let in_text = source.raw.iter().filter(|line| marks.iter().any(|mark| line.contains(mark)));
    let in_code = source.code.iter().filter(|line| calls.iter().any(|call| line.contains(call)));
    (in_text.count() + in_code.count()) as u64
}
