//! Changes to messages of protobuf that keep their lengths right, so that they reach what reads them.

use crate::mutate::{bytes as mutate_bytes, number};
use crate::random::Random;

/// One field as it stands: its key, and a number or contents.
#[derive(Clone, Debug)]
struct Field {
    key: u64,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Fixed(Vec<u8>),
    Contents(Vec<u8>),
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 127).checked_shl(shift).unwrap_or(0);
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn put(mut value: u64, bytes: &mut Vec<u8>) {
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// The fields of a message, if the bytes are one.
fn fields(bytes: &[u8]) -> Option<Vec<Field>> {
    let (mut at, mut fields) = (0, Vec::new());
    while at < bytes.len() {
        let key = varint(bytes, &mut at)?;
        let mut take = |length: usize| {
            let end = at.checked_add(length)?;
            let taken = bytes.get(at..end)?.to_vec();
            at = end;
            Some(taken)
        };
        let value = match key & 7 {
            0 => Value::Number(varint(bytes, &mut at)?),
            1 => Value::Fixed(take(8)?),
            5 => Value::Fixed(take(4)?),
            2 => {
                let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
                let end = at.checked_add(length)?;
                let contents = bytes.get(at..end)?.to_vec();
                at = end;
                Value::Contents(contents)
            }
            _ => return None,
        };
        if key >> 3 == 0 {
            return None;
        }
        fields.push(Field { key, value });
    }
    Some(fields)
}

fn encode(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Field { key, value } in fields {
        put(*key, &mut bytes);
        match value {
            Value::Number(number) => put(*number, &mut bytes),
            Value::Fixed(fixed) => bytes.extend(fixed),
            Value::Contents(contents) => {
                put(contents.len() as u64, &mut bytes);
                bytes.extend(contents);
            }
        }
    }
    bytes
}

/// Changes one thing in a message, somewhere in its depth; contents come from `donor` at times, another message.
pub fn mutate(bytes: &[u8], donor: &[u8], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let Some(mut all) = fields(bytes).filter(|fields| !fields.is_empty()) else {
        let mut bytes = bytes.to_vec();
        mutate_bytes(&mut bytes, words, random);
        return bytes;
    };
    let at = random.below(all.len());
    let given = fields(donor).unwrap_or_default();
    let same: Vec<&Field> = given.iter().filter(|field| field.key == all[at].key).collect();
    let same = same.get(random.below(same.len())).copied();
    match (random.below(10), &all[at].value) {
        // Deeper, three times in four.
        (0..7, Value::Contents(contents)) if contents.len() > 1 => {
            let donor = match same.map(|field| &field.value) {
                Some(Value::Contents(contents)) => contents.as_slice(),
                _ => &[],
            };
            let contents = mutate(contents, donor, words, random);
            all[at].value = Value::Contents(contents);
        }
        (0..7, Value::Number(old)) => all[at].value = Value::Number(number(*old, random)),
        (0..7, Value::Fixed(fixed)) => {
            let mut fixed = fixed.clone();
            let which = random.below(fixed.len());
            fixed[which] ^= 1 << random.below(8);
            all[at].value = Value::Fixed(fixed);
        }
        (7, _) => drop(all.remove(at)),
        (8, _) => {
            let field = same.unwrap_or(&all[at]).clone();
            all.insert(random.below(all.len() + 1), field);
        }
        (_, _) => match (same, given.get(random.below(given.len()))) {
            (Some(field), _) if random.one_in(2) => all[at] = field.clone(),
            (_, Some(field)) => all[at].value = field.value.clone(),
            _ => {
                let other = random.below(all.len());
                all.swap(at, other);
            }
        },
    }
    encode(&all)
}
