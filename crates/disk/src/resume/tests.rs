use super::*;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn identity() -> Identity {
    Identity { id: [7; 32], pieces: 20, files: 3 }
}

fn journal() -> Vec<u8> {
    let mut synced = Bitfield::new(20);
    synced.insert(0);
    let mut bytes = snapshot(&identity(), &synced, &[(1, &[Sha256Hash([1; 32])])], &[2], None);
    bytes.extend(verified_record(&[3, 4]));
    bytes.extend(verified_record(&[5]));
    bytes.extend(checkpoint_record(2));
    bytes
}

fn list(set: &Bitfield) -> Vec<u32> {
    set.iter().collect()
}

#[test]
fn check_sum_is_the_usual_one() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_checkpoint_covers_what_was_verified_before_it() {
    let resume = parse(&journal(), &identity()).unwrap();
    assert_eq!(list(&resume.synced), [0, 3, 4]);
    assert_eq!(resume.unsynced, [5]);
    assert_eq!(resume.layers, [(1, vec![Sha256Hash([1; 32])])]);
    assert_eq!(resume.clean, None);
    assert_eq!(resume.owned, BTreeSet::from([2]));
}

#[test]
fn files_that_are_ours_stay_so() {
    let bytes = [journal(), owned_record(&[0]), dirty_record(), lost_record(&[3])].concat();
    assert_eq!(parse(&bytes, &identity()).unwrap().owned, BTreeSet::from([0, 2]));
    let none = [journal(), owned_record(&[3])].concat();
    assert_eq!(parse(&none, &identity()), Err(ResumeError::Damaged), "there are three");
}

#[test]
fn lost_pieces_are_gone_until_verified_again() {
    let mut bytes = journal();
    bytes.extend(lost_record(&[0, 3, 5]));
    bytes.extend(verified_record(&[3]));
    let resume = parse(&bytes, &identity()).unwrap();
    assert_eq!((list(&resume.synced), resume.unsynced), (vec![4], vec![3]));
}

#[test]
fn a_clean_stop_counts_only_at_the_end() {
    let stat = Stat { length: 9, modified: UNIX_EPOCH - Duration::from_millis(1500) };
    let mut bytes = snapshot(&identity(), &Bitfield::full(20), &[], &[], Some(&[(2, stat)]));
    assert_eq!(parse(&bytes, &identity()).unwrap().clean, Some(vec![(2, stat)]));
    let mut torn = bytes.clone();
    torn.push(VERIFIED);
    assert_eq!(parse(&torn, &identity()).unwrap().clean, None);
    bytes.extend(dirty_record());
    let resume = parse(&bytes, &identity()).unwrap();
    assert!(resume.clean.is_none() && resume.synced.is_full());
}

#[test]
fn a_torn_tail_is_dropped_and_other_damage_refused() {
    let whole = journal();
    let before = whole.len() - checkpoint_record(2).len();
    for cut in before + 1..whole.len() {
        let resume = parse(&whole[..cut], &identity()).unwrap();
        assert_eq!((list(&resume.synced), resume.unsynced), (vec![0], vec![3, 4, 5]), "cut at {cut}");
    }
    let mut zeros = whole.clone();
    zeros.extend([0; 4096]);
    assert_eq!(list(&parse(&zeros, &identity()).unwrap().synced), [0, 3, 4]);
    let mut damaged = whole.clone();
    damaged[HEADER + 6] ^= 1;
    assert_eq!(parse(&damaged, &identity()), Err(ResumeError::Damaged));
    assert_eq!(parse(&whole, &Identity { pieces: 21, ..identity() }), Err(ResumeError::Foreign));
    assert_eq!(parse(b"", &identity()), Err(ResumeError::Foreign));
}

#[test]
fn numbers_out_of_range_are_damage() {
    for bad in [verified_record(&[20]), checkpoint_record(9), layer_record(3, &[])] {
        let mut bytes = journal();
        bytes.extend(bad);
        assert_eq!(parse(&bytes, &identity()), Err(ResumeError::Damaged));
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/resume")
}

/// Writes the seeds anew, after the format changed.
#[test]
#[ignore = "changes the corpus"]
fn write_corpus() {
    let stat = Stat { length: 9, modified: UNIX_EPOCH + Duration::from_millis(1500) };
    let clean = snapshot(&identity(), &Bitfield::full(20), &[], &[], Some(&[(0, stat), (2, stat)]));
    let mut all = journal();
    all.extend(lost_record(&[3]));
    all.extend(dirty_record());
    let mut damaged = all.clone();
    damaged[HEADER + 6] ^= 1;
    let mut zeros = all.clone();
    zeros.extend([0; 64]);
    let torn = all[..all.len() - 3].to_vec();
    std::fs::create_dir_all(corpus()).unwrap();
    let seeds = [("clean", clean), ("journal", all), ("damaged", damaged), ("zeros", zeros), ("torn", torn)];
    for (name, bytes) in seeds {
        std::fs::write(corpus().join(name), bytes).unwrap();
    }
}

/// The fuzz target's corpus.
#[test]
fn corpus_replays() {
    let folder = corpus();
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let _ = parse(&std::fs::read(entry.unwrap().path()).unwrap(), &identity());
        replayed += 1;
    }
    assert!(replayed >= 5, "the corpus is in {}", folder.display());
}

proptest! {
    #[test]
    fn any_bytes_are_safe(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = journal();
        bytes.extend(&tail);
        let _ = parse(&bytes, &identity());
        let _ = parse(&tail, &identity());
    }

    #[test]
    fn one_flipped_bit_never_adds_a_piece(bit in 0usize..1000) {
        let mut bytes = journal();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(resume) = parse(&bytes, &identity()) {
            let good = [0, 3, 4, 5];
            prop_assert!(resume.synced.iter().all(|piece| good.contains(&piece) && piece != 5));
            prop_assert!(resume.unsynced.iter().all(|piece| good.contains(piece)));
        }
    }
}
