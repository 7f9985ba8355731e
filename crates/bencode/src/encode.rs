use std::ops::Range;

/// Encodes a dictionary that `fill` writes; keys are put in order whatever order they come in.
///
/// ```
/// let bytes = starling_bencode::encode_dict(|d| {
///     d.int("b", 1);
///     d.list("a", |l| l.bytes("x"));
/// });
/// assert_eq!(bytes, b"d1:al1:xe1:bi1ee");
/// ```
pub fn encode_dict(fill: impl FnOnce(&mut DictWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write_dict(&mut out, fill);
    out
}

/// Encodes a list that `fill` writes.
pub fn encode_list(fill: impl FnOnce(&mut ListWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write_list(&mut out, fill);
    out
}

/// Writes the items of a list.
#[derive(Debug)]
pub struct ListWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl ListWriter<'_> {
    /// Adds an integer.
    pub fn int(&mut self, value: i64) {
        write_int(self.out, value);
    }

    /// Adds a string.
    pub fn bytes(&mut self, value: impl AsRef<[u8]>) {
        write_bytes(self.out, value.as_ref());
    }

    /// Adds a list.
    pub fn list(&mut self, fill: impl FnOnce(&mut ListWriter<'_>)) {
        write_list(self.out, fill);
    }

    /// Adds a dictionary.
    pub fn dict(&mut self, fill: impl FnOnce(&mut DictWriter<'_>)) {
        write_dict(self.out, fill);
    }

    /// Adds a value that is encoded already, as it stands.
    pub fn raw(&mut self, value: impl AsRef<[u8]>) {
        self.out.extend_from_slice(value.as_ref());
    }
}

/// Writes the keys and values of a dictionary. Of equal keys the first counts.
#[derive(Debug)]
pub struct DictWriter<'o> {
    out: &'o mut Vec<u8>,
    entries: Vec<Entry>,
}

/// Where a key's content and its whole entry lie in the output.
#[derive(Clone, Debug)]
struct Entry {
    key: Range<usize>,
    all: Range<usize>,
}

impl DictWriter<'_> {
    /// Adds an integer.
    pub fn int(&mut self, key: impl AsRef<[u8]>, value: i64) {
        self.entry(key.as_ref(), |out| write_int(out, value));
    }

    /// Adds a string.
    pub fn bytes(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.entry(key.as_ref(), |out| write_bytes(out, value.as_ref()));
    }

    /// Adds a list.
    pub fn list(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut ListWriter<'_>)) {
        self.entry(key.as_ref(), |out| write_list(out, fill));
    }

    /// Adds a dictionary.
    pub fn dict(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut DictWriter<'_>)) {
        self.entry(key.as_ref(), |out| write_dict(out, fill));
    }

    /// Adds a value that is encoded already, as it stands.
    pub fn raw(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.entry(key.as_ref(), |out| out.extend_from_slice(value.as_ref()));
    }

    fn entry(&mut self, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        write_bytes(self.out, key);
        let key_end = self.out.len();
        value(self.out);
        let all = start..self.out.len();
        self.entries.push(Entry { key: key_end - key.len()..key_end, all });
    }

    /// Puts the entries, which begin at `start`, in order.
    fn finish(self, start: usize) {
        let out = self.out;
        let mut entries = self.entries;
        if entries.windows(2).all(|pair| out[pair[0].key.clone()] < out[pair[1].key.clone()]) {
            return;
        }
        entries.sort_by(|a, b| out[a.key.clone()].cmp(&out[b.key.clone()]));
        entries.dedup_by(|later, first| out[later.key.clone()] == out[first.key.clone()]);
        let sorted: Vec<u8> = entries.iter().flat_map(|e| &out[e.all.clone()]).copied().collect();
        out.truncate(start);
        out.extend_from_slice(&sorted);
    }
}

fn write_int(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(format!("i{value}e").as_bytes());
}

fn write_bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(format!("{}:", value.len()).as_bytes());
    out.extend_from_slice(value);
}

fn write_list(out: &mut Vec<u8>, fill: impl FnOnce(&mut ListWriter<'_>)) {
    out.push(b'l');
    fill(&mut ListWriter { out });
    out.push(b'e');
}

fn write_dict(out: &mut Vec<u8>, fill: impl FnOnce(&mut DictWriter<'_>)) {
    out.push(b'd');
    let start = out.len();
    let mut writer = DictWriter { out, entries: Vec::new() };
    fill(&mut writer);
    writer.finish(start);
    out.push(b'e');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_distinct_at_every_level() {
        let bytes = encode_dict(|d| {
            d.dict("z", |d| {
                d.int("b", -1);
                d.int("a", 0);
            });
            d.bytes("aa", [0xff]);
            d.bytes("a", "first");
            d.bytes("a", "second");
            d.raw("m", "le");
        });
        assert_eq!(bytes, b"d1:a5:first2:aa1:\xff1:mle1:zd1:ai0e1:bi-1eee");
    }

    #[test]
    fn lists_keep_their_order() {
        let bytes = encode_list(|l| {
            l.int(i64::MIN);
            l.bytes("");
            l.list(|_| ());
            l.dict(|_| ());
            l.raw("i3e");
        });
        assert_eq!(bytes, b"li-9223372036854775808e0:ledei3ee");
    }
}
