//! `cargo xtask tidy`: style as a measurement, and the law of dependence as a test.
//!
//! Numbers within the goals pass. Beyond them a place needs an excuse in
//! `xtask/tidy.txt`, and excuses only shrink.

mod baseline;
mod law;
mod measure;
mod source;

use std::process::ExitCode;

use measure::CrateNumbers;

use crate::workspace;

/// Prints the table and the complaints; with `--update` lowers the baseline first.
pub fn run(args: &[&str]) -> ExitCode {
    let update = match args {
        [] => false,
        ["--update"] => true,
        _ => return crate::usage(),
    };
    let crates = measure_all();
    print!("{}", table(&crates));
    let result = if update { lower(&crates) } else { Ok(()) };
    let complaints = result.and_then(|()| check(&crates));
    match complaints.map_err(|problem| vec![problem]) {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) | Err(complaints) => {
            complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
            eprintln!("{} to tidy", complaints.len());
            ExitCode::FAILURE
        }
    }
}

fn measure_all() -> Vec<CrateNumbers> {
    workspace::members().iter().map(|folder| measure::measure(folder)).collect()
}

fn check(crates: &[CrateNumbers]) -> Result<Vec<String>, String> {
    let excuses = read_baseline()?;
    let findings: Vec<_> = crates.iter().flat_map(|c| c.findings.clone()).collect();
    Ok([law::breaches(), baseline::complaints(&findings, &excuses)].concat())
}

fn lower(crates: &[CrateNumbers]) -> Result<(), String> {
    let findings: Vec<_> = crates.iter().flat_map(|c| c.findings.clone()).collect();
    let lowered = baseline::lowered(&findings, &read_baseline()?);
    std::fs::write(baseline::path(), baseline::render(&lowered)).map_err(|e| e.to_string())
}

fn read_baseline() -> Result<Vec<baseline::Excuse>, String> {
    let path = baseline::path();
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    baseline::parse(&text)
}

fn table(crates: &[CrateNumbers]) -> String {
    let mut out = format!(
        "{:<18} {:>5} {:>7} {:>5} {:>9} {:>7} {:>5} {:>6}\n",
        "crate", "files", "median", "max", "functions", "median", "max", "docs"
    );
    for c in crates {
        out.push_str(&format!(
            "{:<18} {:>5} {:>7} {:>5} {:>9} {:>7} {:>5} {:>4}.{} %\n",
            c.folder.display(),
            c.files.0,
            c.files.1,
            c.files.2,
            c.functions.0,
            c.functions.1,
            c.functions.2,
            c.docs_permille / 10,
            c.docs_permille % 10
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_law_of_dependence_holds() {
        assert_eq!(super::law::breaches(), [] as [&str; 0]);
    }

    #[test]
    fn the_tree_is_tidy() {
        let complaints = super::check(&super::measure_all()).unwrap();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}
