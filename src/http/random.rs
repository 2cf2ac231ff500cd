//! Random numbers by which requests and users who have no name are told apart. They are shown to whoever asks; nothing that has to stay
//! secret is made of them.
//!
//! The system is asked for many at once, since each time costs a system call. A number is given out once, and what is left belongs to
//! one thread.

use std::cell::RefCell;

/// Numbers for which the system is asked at once.
const BLOCK: usize = 64;
const NUMBER_BYTES: usize = size_of::<u64>();

thread_local! {
    static LEFT: RefCell<Left> = const { RefCell::new(Left { bytes: [0; BLOCK * NUMBER_BYTES], numbers: 0 }) };
}

struct Left {
    bytes: [u8; BLOCK * NUMBER_BYTES],
    /// How many, from the front, have not been given out.
    numbers: usize,
}

/// 64 random bits; `None` when the system has none to give.
pub(super) fn number() -> Option<u64> {
    LEFT.with_borrow_mut(|left| left.take(|bytes| getrandom::fill(bytes).is_ok()))
}

/// A number as it is shown: sixteen hexadecimal digits.
pub(super) fn hex(number: u64) -> [u8; 2 * NUMBER_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|at| DIGITS[(number >> (60 - 4 * at)) as usize & 0xf])
}

impl Left {
    fn take(&mut self, fill: impl FnOnce(&mut [u8]) -> bool) -> Option<u64> {
        if self.numbers == 0 {
            if !fill(&mut self.bytes) {
                return None;
            }
            self.numbers = BLOCK;
        }
        self.numbers -= 1;
        let (numbers, _) = self.bytes.as_chunks_mut::<NUMBER_BYTES>();
        numbers
            .get_mut(self.numbers)
            .map(std::mem::take)
            .map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_number_is_shown_with_all_its_digits() {
        for number in [0, 0xf, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(number), *format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn every_number_is_given_out_once() {
        let all: HashSet<u64> = (0..10 * BLOCK).map_while(|_| number()).collect();
        assert_eq!(all.len(), 10 * BLOCK);
        assert!(!all.contains(&0));
    }

    #[test]
    fn numbers_of_threads_are_not_the_same() {
        let numbers = || -> Vec<u64> { (0..BLOCK).map_while(|_| number()).collect() };
        let theirs = std::thread::spawn(numbers).join().unwrap();
        let ours: HashSet<u64> = numbers().into_iter().collect();
        assert_eq!((theirs.len(), ours.len()), (BLOCK, BLOCK));
        assert!(theirs.iter().all(|number| !ours.contains(number)));
    }

    #[test]
    fn without_randomness_there_is_no_number_until_there_is_some() {
        let mut left = Left {
            bytes: [0; BLOCK * NUMBER_BYTES],
            numbers: 0,
        };
        assert_eq!(left.take(|_| false), None);
        let sevens = |bytes: &mut [u8]| {
            bytes.fill(7);
            true
        };
        assert_eq!(left.take(sevens), Some(0x0707_0707_0707_0707));
        for _ in 1..BLOCK {
            assert!(left.take(|_| false).is_some());
        }
        assert_eq!(left.take(|_| false), None);
        assert!(
            left.bytes.iter().all(|&byte| byte == 0),
            "what was given out is not kept"
        );
    }
}
