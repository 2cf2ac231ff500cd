//! Published messages, kept as commented hexadecimal in `tests/vectors/`.

/// The bytes of a vector file: hexadecimal, with `#` to the end of the line a comment.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().chars())
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_digit(16).expect("a hexadecimal digit"))
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

/// `vector!("name")` are the bytes of `tests/vectors/name.hex`.
macro_rules! vector {
    ($name:literal) => {
        crate::vector::decode(include_str!(concat!("../vectors/", $name, ".hex")))
    };
}

pub(crate) use vector;
