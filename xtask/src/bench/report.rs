//! Pages of docs: the measured parts between marks, the prose left alone.

use starling_interop::{Result, context};

use crate::workspace;

/// Puts `text` between the marks of `part` in docs/benchmarks.md.
pub fn write(part: &str, text: &str) -> Result<()> {
    write_to("docs/benchmarks.md", part, text)
}

/// Puts `text` between the marks of `part` in `page`, at the end if there are none yet.
pub fn write_to(page: &str, part: &str, text: &str) -> Result<()> {
    let path = workspace::root().join(page);
    let old = std::fs::read_to_string(&path).unwrap_or_else(|_| "# Benchmarks\n".to_owned());
    context(std::fs::write(&path, replaced(&old, part, text)), &path.display().to_string())
}

fn replaced(old: &str, part: &str, text: &str) -> String {
    let [begin, end] = ["begin", "end"].map(|edge| format!("<!-- {edge} {part} -->"));
    let whole = format!("{begin}\n{}\n{end}", text.trim_end());
    match (old.find(&begin), old.find(&end)) {
        (Some(from), Some(to)) if from < to => format!("{}{whole}{}", &old[..from], &old[to + end.len()..]),
        _ => format!("{}\n\n{whole}\n", old.trim_end()),
    }
}

/// One line about the machine: processor, cores, kernel.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_around_a_part_stays() {
        let first = replaced("# B\n", "swarm", "one\n");
        assert_eq!(first, "# B\n\n<!-- begin swarm -->\none\n<!-- end swarm -->\n");
        let edited = format!("{first}\nWhy so.\n");
        let second = replaced(&edited, "swarm", "two");
        assert_eq!(second, edited.replace("one", "two"));
    }
}
