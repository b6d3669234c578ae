//! LinearAttention: attention whose memory is a matrix for each head, updated step by step. A loop.

use amq_format::graph::{BinaryFunction as B, Dim, Gather, MatMul, Op, UnaryFunction as U};

use super::control::Rounds;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

/// Numbers of heads, and of those of queries that share one of keys.
struct Heads {
    keys: i64,
    shared: i64,
}

fn heads(r: &mut Reader<'_, '_>) -> Result<Heads> {
    let mut count = |name: &str| match r.int(name)? {
        Some(count) if count > 0 => Ok(count),
        other => Err(Error::bad_file(format!("{name} is {other:?}"))),
    };
    let (queries, keys) = (count("q_num_heads")?, count("kv_num_heads")?);
    if queries % keys != 0 {
        return Err(Error::bad_file(format!("{queries} heads of queries for {keys} of keys")));
    }
    Ok(Heads { keys, shared: queries / keys })
}

/// x [batch, time, heads..] as [time, batch, heads.., rest..], of which `split` makes the last axes.
fn by_step(
    r: &mut Reader<'_, '_>,
    part: &str,
    x: Value,
    split: impl FnOnce(&Dim) -> Result<Vec<Dim>>,
) -> Result<Value> {
    let dims = r.dims(x);
    let [batch, time, last] = dims.as_slice() else {
        return Err(Error::bad_file(format!("its {part} has {} axes instead of 3", dims.len())));
    };
    let mut apart = vec![batch.clone(), time.clone()];
    apart.extend(split(last)?);
    let rank = apart.len() as u32;
    let x = r.reshape(&format!("{part}_heads"), x, apart)?;
    let perm: Vec<u32> = [1, 0].into_iter().chain(2..rank).collect();
    r.transpose(&format!("{part}_steps"), x, &perm)
}

/// The size of a head, where `heads` of them are an axis.
fn head_size(last: &Dim, heads: i64) -> Result<Dim> {
    let size = last.as_size().filter(|size| size % heads == 0);
    let size = size.ok_or_else(|| {
        Error::unsupported(format!("an axis of size {last} in {heads} heads of one size"))
            .remedy("give that dimension of the input a size with --dim")
    })?;
    Ok(Dim::from(size / heads))
}

pub(in crate::onnx) fn linear_attention(r: &mut Reader<'_, '_>) -> Result<()> {
    let Heads { keys, shared } = heads(r)?;
    let rule = r.string("update_rule")?.unwrap_or("gated_delta");
    let (gated, delta) = match rule {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return Err(Error::bad_file(format!("update_rule {other:?}"))),
    };
    // How a GPU divides the work.
    r.int("chunk_size")?;
    let scale = r.float("scale")?.filter(|&scale| scale != 0.0);
    let [query, key, value] = [r.input(0)?, r.input(1)?, r.input(2)?];
    let (past, decay, beta) = (r.optional_input(3), r.optional_input(4), r.optional_input(5));
    if gated && decay.is_none() || delta && beta.is_none() {
        return Err(Error::bad_file(format!("update_rule {rule:?} without its decay or beta")));
    }
    let (h, one) = (|| Dim::from(keys), || Dim::from(1));
    let batch = r.dims(query).first().cloned().unwrap_or(one());
    let last = |r: &Reader<'_, '_>, x: Value| r.dims(x).last().cloned().unwrap_or(Dim::from(1));
    let depth = head_size(&last(r, key), keys)?;
    let width = head_size(&last(r, value), keys)?;
    let time = r.dims(query).get(1).cloned().unwrap_or(one());
    let query = by_step(r, "query", query, |_| Ok(vec![h(), Dim::from(shared), depth.clone()]))?;
    let key = by_step(r, "key", key, |_| Ok(vec![h(), depth.clone(), one()]))?;
    let value = by_step(r, "value", value, |_| Ok(vec![h(), one(), width.clone()]))?;
    let decay = match decay.filter(|_| gated) {
        Some(decay) => {
            // For each entry of a key, or for each head.
            let by_head = last(r, decay) == h();
            let rest = if by_head { one() } else { depth.clone() };
            let decay = by_step(r, "decay", decay, |_| Ok(vec![h(), rest, one()]))?;
            Some(r.unary("kept", U::Exp, decay)?)
        }
        None => None,
    };
    let beta = match beta.filter(|_| delta) {
        Some(beta) => Some(by_step(r, "beta", beta, |last| Ok(vec![last.clone(), one(), one()]))?),
        None => None,
    };
    let state = match past {
        Some(past) => past,
        None => {
            let zero = r.scalar("zero", 0.0)?;
            r.expanded("start", zero, vec![batch.clone(), h(), depth.clone(), width.clone()])?
        }
    };
    let rounds =
        Rounds { carried: vec![state], count: None, condition: None, trips: Some(time.clone()) };
    let outputs = rounds.read(r, |r, step, carried| {
        let mut at =
            |part: &str, x: Value| r.emit(part, Op::Gather(Gather { axis: 0 }), &[x, step]);
        let (query, key, mut value) = (at("q", query)?, at("k", key)?, at("v", value)?);
        let decay = decay.map(|decay| at("g", decay)).transpose()?;
        let beta = beta.map(|beta| at("b", beta)).transpose()?;
        let mut state = carried[0];
        if let Some(decay) = decay {
            state = r.binary("decayed", B::Mul, decay, state)?;
        }
        if let Some(beta) = beta {
            // What the memory has for the key gives way to the value.
            let row = r.transpose("k_row", key, &[0, 1, 3, 2])?;
            let found = r.emit("found", Op::MatMul(MatMul {}), &[row, state])?;
            let new = r.binary("new", B::Sub, value, found)?;
            value = r.binary("update", B::Mul, beta, new)?;
        }
        let product = r.binary("outer", B::Mul, key, value)?;
        let state = r.binary("state", B::Add, state, product)?;
        let y = r.emit("read", Op::MatMul(MatMul {}), &[query, state])?;
        Ok((None, vec![state, y]))
    })?;
    let &[state, y] = outputs.as_slice() else {
        return Err(Error::unsupported("its loop has other outputs"));
    };
    let scale = scale.unwrap_or_else(|| 1.0 / (depth.as_size().unwrap_or(1) as f32).sqrt());
    let y = r.with_scalar("scaled", B::Mul, y, scale)?;
    let y = r.transpose("batches", y, &[1, 0, 2, 3, 4])?;
    let all = r.dim(width.mul(&Dim::from(keys * shared)))?;
    let y = r.reshape("", y, vec![batch, time, all])?;
    r.give(0, y)?;
    r.give(1, state)
}
