//! Sizes, rates and times as people read them.

/// `1.4 GiB`: three digits, powers of 1024.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `12.3 MB/s`: powers of 1000, as links are sold.
pub fn rate(n: u64) -> String {
    const UNITS: [&str; 4] = ["B/s", "kB/s", "MB/s", "GB/s"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `47 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`.
pub fn duration(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3600 % 24),
    }
}

/// `7 ms`, `0.4 s`, then as [`duration`]: how long something took, never nothing.
pub fn elapsed(took: std::time::Duration) -> String {
    match took.as_millis() {
        millis @ 0..100 => format!("{} ms", millis.max(1)),
        100..10_000 => format!("{:.1} s", took.as_secs_f64()),
        _ => duration(took.as_secs()),
    }
}

/// `1 peer`, `3 peers`, `12,000 peers`.
pub fn count(n: usize, thing: &str) -> String {
    count_of(n, thing, &format!("{thing}s"))
}

/// The same for what has a plural of its own.
pub fn count_of(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", number(n as u64)) }
}

/// `1,234,567`
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1.0 KiB");
        assert_eq!(bytes(1 << 30), "1.0 GiB");
        assert_eq!(bytes(150 << 20), "150 MiB");
        assert_eq!(rate(12_345_678), "12.3 MB/s");
        assert_eq!(duration(3 * 60 + 20), "3 min 20 s");
        assert_eq!(duration(7500), "2 h 5 min");
        assert_eq!(count(1, "peer"), "1 peer");
        assert_eq!(count_of(1200, "address", "addresses"), "1,200 addresses");
        assert_eq!(number(1_234_567), "1,234,567");
        let took = [0, 7, 100, 420, 10_000].map(|ms| elapsed(std::time::Duration::from_millis(ms)));
        assert_eq!(took, ["1 ms", "7 ms", "0.1 s", "0.4 s", "10 s"]);
    }
}
