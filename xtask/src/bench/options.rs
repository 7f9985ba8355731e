//! What a benchmark was asked to do.

/// The options of every benchmark.
#[derive(Debug)]
pub struct Options {
    /// Bytes to transfer.
    pub size: u64,
    /// Runs of each line, of which the median is told.
    pub runs: usize,
    /// Only these programs, if any are named.
    pub only: Vec<String>,
    /// Measure the real programs alone.
    pub without_starling: bool,
    /// Leave docs/benchmarks.md as it is.
    pub dry: bool,
}

impl Options {
    /// Reads `--size 1GiB --runs 5 --only a,b --without-starling --dry`.
    pub fn parse(args: &[&str]) -> Result<Options, String> {
        let mut options =
            Options { size: 1 << 30, runs: 5, only: Vec::new(), without_starling: false, dry: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} wants a value"));
            match *arg {
                "--size" => options.size = parse_size(value()?)?,
                "--runs" => options.runs = value()?.parse().map_err(|_| "--runs wants a number")?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--without-starling" => options.without_starling = true,
                "--dry" => options.dry = true,
                _ => return Err(format!("{arg}: no such option")),
            }
        }
        Ok(options)
    }

    /// Whether lines about this program are wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// Bytes in `1GiB`, `256MiB` or a bare number.
fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("", 0)];
    let (number, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .ok_or(format!("{text}: no size"))?;
    let number: u64 = number.parse().map_err(|_| format!("{text}: no size"))?;
    number.checked_shl(shift).ok_or(format!("{text}: too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("77"), Ok(77));
        assert!(parse_size("GiB").is_err() && parse_size("1GB").is_err());
    }

    #[test]
    fn options_are_read() {
        let options = Options::parse(&["--runs", "3", "--only", "aria2,rtorrent"]).unwrap();
        assert_eq!((options.runs, options.size), (3, 1 << 30));
        assert!(options.wants("aria2") && !options.wants("starling"));
        assert!(Options::parse(&["--runs"]).is_err() && Options::parse(&["--speed"]).is_err());
    }
}
