//! Files of the format, laid out without the crates' help, whose digests are right whatever they hold.

use sha2::{Digest, Sha256};

use crate::random::Random;
use crate::{mutate, wire};

const HEADER: usize = 64;

fn number(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(bytes)).ok()
}

/// Sections that the table names, at most so many as the file has room for.
fn count(file: &[u8]) -> usize {
    let stated = file
        .get(40..44)
        .map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize);
    stated.min(file.len().saturating_sub(HEADER + 32) / 64)
}

/// Puts right digests in a file that was changed, and its length, as far as it has places for them.
pub fn sign(file: &mut [u8]) {
    let count = count(file);
    if file.len() < HEADER + 32 {
        return;
    }
    for entry in (0..count).map(|index| HEADER + 64 * index) {
        let (Some(offset), Some(length)) = (number(file, entry + 8), number(file, entry + 16))
        else {
            continue;
        };
        let end = offset.checked_add(length);
        let Some(content) = end.and_then(|end| file.get(offset..end)) else { continue };
        let digest = Sha256::digest(content);
        file[entry + 32..entry + 64].copy_from_slice(&digest);
    }
    let table = HEADER + 64 * count;
    let digest = Sha256::digest(&file[..table]);
    file[table..table + 32].copy_from_slice(&digest);
}

/// The sections of a file: 8 bytes of kind and flags, and contents.
fn sections(file: &[u8]) -> Vec<([u8; 8], Vec<u8>)> {
    let section = |index: usize| {
        let entry = HEADER + 64 * index;
        let kind = file.get(entry..entry + 8)?.try_into().ok()?;
        let (offset, length) = (number(file, entry + 8)?, number(file, entry + 16)?);
        Some((kind, file.get(offset..offset.checked_add(length)?)?.to_vec()))
    };
    (0..count(file)).filter_map(section).collect()
}

fn lay_out(header: &[u8], sections: &[([u8; 8], Vec<u8>)]) -> Vec<u8> {
    let mut file = header.to_vec();
    file.resize(HEADER, 0);
    file[40..44].copy_from_slice(&(sections.len() as u32).to_le_bytes());
    let mut offset = HEADER + 64 * sections.len() + 32;
    for (kind, content) in sections {
        offset = offset.next_multiple_of(64);
        file.extend(kind);
        for number in [offset, content.len(), 64] {
            file.extend((number as u64).to_le_bytes());
        }
        file.extend([0; 32]);
        offset += content.len();
    }
    file.extend([0; 32]);
    for (_, content) in sections {
        file.resize(file.len().next_multiple_of(64), 0);
        file.extend(content);
    }
    let length = file.len() as u64;
    file[16..24].copy_from_slice(&length.to_le_bytes());
    sign(&mut file);
    file
}

/// Changes one section of a file and lays it out anew, or any of its bytes.
pub fn mutate(file: &[u8], donor: &[u8], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut sections = sections(file);
    if sections.is_empty() || random.one_in(8) {
        let mut file = file.to_vec();
        mutate::bytes(&mut file, words, random);
        return file;
    }
    let donors = self::sections(donor);
    if random.one_in(8) {
        let at = random.below(sections.len());
        match (random.below(3), donors.get(random.below(donors.len()))) {
            (0, Some(other)) => sections[at] = other.clone(),
            (1, Some(other)) => sections.insert(at, other.clone()),
            _ => drop(sections.remove(at)),
        }
    } else if random.one_in(5) {
        let at = random.below(sections.len());
        mutate::bytes(&mut sections[at].1, words, random);
    } else {
        let donor = donors.first().map_or(&[][..], |(_, graph)| graph);
        for _ in 0..1 + random.below(2) {
            sections[0].1 = wire::mutate(&sections[0].1, donor, words, random);
        }
    }
    lay_out(&file[..HEADER.min(file.len())], &sections)
}
