//! Elements of fewer than 16 bits that no ordinary type holds: integers and floats of 2 to 8 bits.

use super::proto::ElementType;
use crate::tensor::Data;

/// Bits of an element, if the type is one of these.
pub(super) fn bits(element: ElementType) -> Option<usize> {
    use ElementType as E;
    Some(match element {
        E::Uint2 | E::Int2 => 2,
        E::Uint4 | E::Int4 | E::Float4e2m1 => 4,
        E::Float8e4m3fn | E::Float8e4m3fnuz | E::Float8e5m2 | E::Float8e5m2fnuz => 8,
        E::Float8e8m0 => 8,
        _ => return None,
    })
}

/// The bytes that `count` elements take.
pub(super) fn bytes(count: usize, bits: usize) -> usize {
    count.div_ceil(8 / bits)
}

/// Decodes `count` elements, the first in a byte's lowest bits. Integers are in the 8-bit type of their
/// sign.
pub(super) fn unpacked(element: ElementType, bytes: &[u8], count: usize) -> Data {
    use ElementType as E;
    let bits = bits(element).unwrap_or(8);
    let (each, mask) = (8 / bits, 0xff >> (8 - bits));
    let codes = (0..count).map(|i| bytes[i / each] >> (i % each * bits) & mask);
    // The sign bit moves to the byte's and back.
    let signed = |code: u8| ((code << (8 - bits)) as i8) >> (8 - bits);
    match element {
        E::Int4 | E::Int2 => Data::I8(codes.map(signed).collect()),
        E::Uint4 | E::Uint2 => Data::U8(codes.collect()),
        _ => Data::F32(codes.map(|code| float(element, code)).collect()),
    }
}

/// The value of a code of a float type.
fn float(element: ElementType, code: u8) -> f32 {
    use ElementType as E;
    let (exponent_bits, mantissa_bits, bias) = match element {
        E::Float8e4m3fn => (4, 3, 7),
        E::Float8e4m3fnuz => (4, 3, 8),
        E::Float8e5m2 => (5, 2, 15),
        E::Float8e5m2fnuz => (5, 2, 16),
        E::Float8e8m0 => return if code == 0xff { f32::NAN } else { power(i32::from(code) - 127) },
        _ => (2, 1, 1),
    };
    let special = match (element, code & 0x7f) {
        (E::Float8e4m3fn, 0x7f) => Some(f32::NAN),
        (E::Float8e4m3fnuz | E::Float8e5m2fnuz, 0) if code == 0x80 => Some(f32::NAN),
        (E::Float8e5m2, 0x7c) => Some(f32::INFINITY),
        (E::Float8e5m2, 0x7d..) => Some(f32::NAN),
        _ => None,
    };
    let mantissa = i32::from(code) & ((1 << mantissa_bits) - 1);
    let exponent = i32::from(code) >> mantissa_bits & ((1 << exponent_bits) - 1);
    let magnitude = special.unwrap_or_else(|| match exponent {
        0 => mantissa as f32 * power(1 - bias - mantissa_bits),
        _ => (mantissa + (1 << mantissa_bits)) as f32 * power(exponent - bias - mantissa_bits),
    });
    let negative = code >> (exponent_bits + mantissa_bits) & 1 == 1;
    if negative { -magnitude } else { magnitude }
}

fn power(exponent: i32) -> f32 {
    2.0f64.powi(exponent) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the standard's tables of these types.
    #[test]
    fn codes_have_the_values_of_the_standard() {
        use ElementType as E;
        for (element, code, value) in [
            (E::Float8e4m3fn, 0x7e, 448.0),
            (E::Float8e4m3fn, 0x08, 0.015625),
            (E::Float8e4m3fn, 0x01, 0.001953125),
            (E::Float8e4m3fn, 0xb8, -1.0),
            (E::Float8e4m3fn, 0xff, f32::NAN),
            (E::Float8e4m3fnuz, 0x7f, 240.0),
            (E::Float8e4m3fnuz, 0x01, 0.0009765625),
            (E::Float8e4m3fnuz, 0x80, f32::NAN),
            (E::Float8e5m2, 0x7b, 57344.0),
            (E::Float8e5m2, 0x7c, f32::INFINITY),
            (E::Float8e5m2, 0xfc, f32::NEG_INFINITY),
            (E::Float8e5m2, 0x7d, f32::NAN),
            (E::Float8e5m2fnuz, 0x7f, 57344.0),
            (E::Float8e5m2fnuz, 0x80, f32::NAN),
            (E::Float8e8m0, 127, 1.0),
            (E::Float8e8m0, 0, f32::MIN_POSITIVE / 2.0),
            (E::Float4e2m1, 7, 6.0),
            (E::Float4e2m1, 1, 0.5),
            (E::Float4e2m1, 0xa, -1.0),
        ] {
            let found = float(element, code);
            let same = found == value || (found.is_nan() && value.is_nan());
            assert!(same, "{element:?} {code:#x}: {found} {value}");
        }
    }

    #[test]
    fn the_first_element_is_in_the_lowest_bits() {
        assert_eq!(unpacked(ElementType::Int4, &[0x8f, 0x07], 3), Data::I8(vec![-1, -8, 7]));
        assert_eq!(unpacked(ElementType::Uint4, &[0x8f], 2), Data::U8(vec![15, 8]));
        assert_eq!(unpacked(ElementType::Int2, &[0b10_01_11_00], 4), Data::I8(vec![0, -1, 1, -2]));
        assert_eq!(unpacked(ElementType::Uint2, &[0b10_01_11_00], 4), Data::U8(vec![0, 3, 1, 2]));
    }
}
