//! Where libketama places members and keys: four points in each MD5 of `NAME-NUMBER`, read in little endian; of these
//! MD5s a member has as many as its share of the weights allows.

use super::Member;

/// Points in one MD5.
const POINTS_PER_DIGEST: usize = 4;

/// All points of the members, each with the index of its member. `points` is how many a member of average weight has.
pub(super) fn place(members: &[Member], points: u32) -> Vec<(u32, u32)> {
    let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let weighty = members.iter().filter(|member| member.weight > 0).count();
    let mut placed = Vec::new();
    for (index, member) in (0..).zip(members) {
        for number in 0..digests(member.weight, total, weighty, points) {
            let digest = md5::compute(format!("{}-{number}", member.name)).0;
            placed.extend(digest.chunks_exact(POINTS_PER_DIGEST).map(|part| (little_endian(part), index)));
        }
    }
    placed
}

/// Where a key is.
pub(super) fn hash(key: &[u8]) -> u32 {
    little_endian(&md5::compute(key).0)
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |first| u32::from_le_bytes(*first))
}

/// How many MD5s a member has: the arithmetic is that of C, with its roundings.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "libketama rounds so, and other placements would not be compatible"
)]
fn digests(weight: u32, total: u64, members: usize, points: u32) -> u32 {
    if total == 0 {
        return 0;
    }
    let share = weight as f32 / total as f32;
    let each = f64::from(points) / POINTS_PER_DIGEST as f64;
    (f64::from(share) * each * f64::from(members as f32)) as f32 as u32
}
