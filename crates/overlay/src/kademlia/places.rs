//! How many places of a bucket are what.

/// How many of a bucket's places are what, by [`Zone`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Places(pub [u8; 4]);

/// A part of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zone {
    Stale,
    Doubted,
    Good,
    Spare,
}

impl Places {
    pub fn of(self, zone: Zone) -> usize {
        usize::from(self.0[zone as usize])
    }

    pub fn suspect(self) -> usize {
        self.of(Zone::Stale) + self.of(Zone::Doubted)
    }

    pub fn contacts(self) -> usize {
        self.suspect() + self.of(Zone::Good)
    }

    pub fn add(&mut self, zone: Zone, count: usize) {
        self.0[zone as usize] += count as u8;
    }

    pub fn take(&mut self, zone: Zone) {
        self.0[zone as usize] -= 1;
    }

    /// The zone of the contact at `at`.
    pub fn zone(self, at: usize) -> Zone {
        if at < self.of(Zone::Stale) {
            Zone::Stale
        } else if at < self.suspect() {
            Zone::Doubted
        } else {
            Zone::Good
        }
    }
}
