//! Attention and rotary embeddings, made of products and softmax.

use amq_format::Elements;
use amq_format::graph::{
    BinaryFunction as B, DataType, Dim, MatMul, Op, Pad, ReduceKind, Softmax, Unary, UnaryFunction,
};

use super::layout::product;
use crate::error::{Error, Result};
use crate::onnx::attrs::Reader;
use crate::onnx::builder::Value;

/// A number of heads that 3-D inputs need, and 4-D ones have by themselves.
fn heads(r: &mut Reader<'_, '_>, name: &str, x: Value) -> Result<Dim> {
    let given = r.int(name)?;
    let dims = r.dims(x);
    match (dims.len(), given) {
        (4, None) => Ok(dims[1].clone()),
        (4, Some(heads)) if dims[1].as_size().is_none_or(|size| size == heads) => {
            Ok(Dim::from(heads))
        }
        (3, Some(heads)) if heads > 0 => Ok(Dim::from(heads)),
        (3, _) => Err(Error::bad_file(format!("{name} is missing"))),
        (rank, _) => Err(Error::bad_file(format!("an input of {rank} axes with {given:?} heads"))),
    }
}

/// `[batch, sequence, heads size]` as `[batch, heads, sequence, size]`.
fn by_head(r: &mut Reader<'_, '_>, part: &str, x: Value, heads: &Dim) -> Result<Value> {
    let dims = r.dims(x);
    if dims.len() == 4 {
        return Ok(x);
    }
    let [batch, sequence, width] = &dims[..] else {
        return Err(Error::bad_file(format!(
            "{part} has {} axes, it must have 3 or 4",
            dims.len()
        )));
    };
    let size = r.dim(width.floor_div(heads))?;
    let apart = vec![batch.clone(), sequence.clone(), heads.clone(), size];
    let apart = r.reshape(&format!("{part}_apart"), x, apart)?;
    r.transpose(&format!("{part}_heads"), apart, &[0, 2, 1, 3])
}

/// Each head of keys or values as often as heads of queries share it.
fn repeated(r: &mut Reader<'_, '_>, part: &str, x: Value, heads: &Dim) -> Result<Value> {
    let dims = r.dims(x);
    if dims[1] == *heads {
        return Ok(x);
    }
    let times = r.dim(heads.floor_div(&dims[1]))?;
    if r.dim(times.mul(&dims[1]))? != *heads {
        return Err(Error::unsupported(format!("{heads} heads of queries share {}", dims[1])));
    }
    let (before, after) = dims.split_at(2);
    let apart = [before, &[Dim::from(1)], after].concat();
    let wide = [before, &[times], after].concat();
    let together = [&dims[..1], std::slice::from_ref(heads), after].concat();
    let apart = r.reshape(&format!("{part}_groups"), x, apart)?;
    let wide = r.expanded(&format!("{part}_repeated"), apart, wide)?;
    r.reshape(&format!("{part}_shared"), wide, together)
}

/// What is added to scores.
struct Bias {
    sum: Option<Value>,
    none: Value,
    masked: Value,
}

impl Bias {
    fn add(&mut self, r: &mut Reader<'_, '_>, part: &str, bias: Value) -> Result<()> {
        self.sum = Some(match self.sum {
            Some(sum) => r.binary(&format!("{part}_sum"), B::Add, sum, bias)?,
            None => bias,
        });
        Ok(())
    }

    /// 0 where it is allowed, else -infinity.
    fn allow(&mut self, r: &mut Reader<'_, '_>, part: &str, allowed: Value) -> Result<()> {
        let bias = r.select(part, allowed, self.none, self.masked)?;
        self.add(r, part, bias)
    }
}

fn known(r: &mut Reader<'_, '_>, dim: Dim) -> Result<Value> {
    r.known(DataType::I64, Elements { dims: Vec::new(), values: vec![dim] })
}

/// The mask that a model gives, as what is added.
fn given_mask(r: &mut Reader<'_, '_>, mask: Value, keys: &Dim, bias: &mut Bias) -> Result<()> {
    let mut mask = mask;
    if r.data_type(mask) == DataType::Bool {
        mask = r.select("mask_bias", mask, bias.none, bias.masked)?;
    }
    let dims = r.dims(mask);
    let last = dims.last().ok_or_else(|| Error::bad_file("its mask has no axes"))?;
    // What a shorter mask says nothing of is masked.
    if let (Some(last), Some(keys)) = (last.as_size(), keys.as_size())
        && last < keys
    {
        let begins = vec![Dim::from(0); dims.len()];
        let mut ends = begins.clone();
        ends[dims.len() - 1] = Dim::from(keys - last);
        let value = r.scalar("masked_pad", f32::NEG_INFINITY)?;
        mask = r.emit("mask_pad", Op::Pad(Pad { mode: 0, begins, ends }), &[mask, value])?;
    }
    bias.add(r, "mask", mask)
}

pub(in crate::onnx) fn attention(r: &mut Reader<'_, '_>) -> Result<()> {
    let [q, k, v] = [r.input(0)?, r.input(1)?, r.input(2)?];
    let mask = r.optional_input(3);
    let past = [r.optional_input(4), r.optional_input(5)];
    let lengths = if r.opset < 24 { None } else { r.optional_input(6) };
    let together = r.rank(q) == 3;
    let q_heads = heads(r, "q_num_heads", q)?;
    let kv_heads = heads(r, "kv_num_heads", k)?;
    let q = by_head(r, "q", q, &q_heads)?;
    let mut k = by_head(r, "k", k, &kv_heads)?;
    let mut v = by_head(r, "v", v, &kv_heads)?;
    let mut before = Dim::from(0);
    if let [Some(past_key), Some(past_value)] = past {
        before = r.dims(past_key).get(2).cloned().unwrap_or(before);
        k = r.joined("present_key", 2, &[past_key, k])?;
        v = r.joined("present_value", 2, &[past_value, v])?;
    } else if past != [None; 2] {
        return Err(Error::bad_file("past_key and past_value are not both there"));
    }
    r.give(1, k)?;
    r.give(2, v)?;

    let (q_dims, k_dims) = (r.dims(q), r.dims(k));
    let scale = match r.float("scale")? {
        Some(scale) => scale,
        None => {
            let size = q_dims[3].as_size().ok_or_else(|| {
                Error::unsupported("the size of a head is not known, nor is the scale")
            })?;
            (1.0 / (size as f64).sqrt()) as f32
        }
    };
    let shared = repeated(r, "k", k, &q_heads)?;
    let values = repeated(r, "v", v, &q_heads)?;
    let scaled = r.with_scalar("q_scaled", B::Mul, q, scale)?;
    let turned = r.transpose("k_turned", shared, &[0, 1, 3, 2])?;
    let scores = r.emit("scores", Op::MatMul(MatMul {}), &[scaled, turned])?;
    let cap = r.float("softcap")?.unwrap_or(0.0);
    let capped = if cap > 0.0 {
        let part = r.with_scalar("cap_part", B::Div, scores, cap)?;
        let tanh = Unary { function: UnaryFunction::ScaledTanh.into(), alpha: cap, beta: 1.0 };
        r.emit("capped", Op::Unary(tanh), &[part])?
    } else {
        scores
    };

    let none = r.scalar("attended", 0.0)?;
    let masked = r.scalar("masked", f32::NEG_INFINITY)?;
    let mut bias = Bias { sum: None, none, masked };
    if let Some(mask) = mask {
        given_mask(r, mask, &k_dims[2], &mut bias)?;
    }
    let causal = r.flag("is_causal", false)?;
    let windows = if r.opset < 25 {
        [-1; 2]
    } else {
        [r.int("left_window_size")?.unwrap_or(-1), r.int("right_window_size")?.unwrap_or(-1)]
    };
    let lengths = match lengths {
        Some(lengths) => {
            let mut dims = r.dims(lengths);
            dims.resize(4, Dim::from(1));
            Some(r.reshape("lengths", lengths, dims)?)
        }
        None => None,
    };
    let places = Places { causal, windows, lengths, before };
    allow_places(r, &places, [&q_dims[2], &k_dims[2]], &mut bias)?;

    // Read for what it says: here all is computed in f32.
    r.int("softmax_precision")?;
    let with_bias = match bias.sum {
        Some(sum) => r.binary("biased", B::Add, capped, sum)?,
        None => capped,
    };
    let mut parts =
        r.emit("softmax", Op::Softmax(Softmax { axis: 3, log: false }), &[with_bias])?;
    if let Some(sum) = bias.sum {
        // A query that may attend to no key gives zeros.
        let last = r.rank(sum).saturating_sub(1);
        let most = r.reduced("most", ReduceKind::Max, sum, &[last], true)?;
        let nowhere = r.binary("nowhere", B::Equal, most, masked)?;
        parts = r.select("attention", nowhere, none, parts)?;
    }
    let shown = match r.int("qk_matmul_output_mode")?.unwrap_or(0) {
        0 => scores,
        1 => capped,
        2 => with_bias,
        3 => parts,
        other => return Err(Error::bad_file(format!("qk_matmul_output_mode is {other}"))),
    };
    r.give(3, shown)?;
    let mut y = r.emit("", Op::MatMul(MatMul {}), &[parts, values])?;
    if together {
        y = r.transpose("heads", y, &[0, 2, 1, 3])?;
        let dims = r.dims(y);
        let together = vec![dims[0].clone(), dims[1].clone(), product(&dims[2..])?];
        y = r.reshape("together", y, together)?;
    }
    r.give(0, y)
}

/// Which keys queries may attend to by their place.
struct Places {
    causal: bool,
    /// How far before and behind its own place; negative for any.
    windows: [i64; 2],
    /// Keys that are there, `[batch, 1, 1, 1]`.
    lengths: Option<Value>,
    /// Keys before the first query.
    before: Dim,
}

fn allow_places(
    r: &mut Reader<'_, '_>,
    places: &Places,
    [queries, keys]: [&Dim; 2],
    bias: &mut Bias,
) -> Result<()> {
    let Places { causal, windows: [left, right], lengths, ref before } = *places;
    let numbers = r.count_up("keys", keys)?;
    if causal || left >= 0 || right >= 0 {
        let rows = r.count_up("queries", queries)?;
        let rows = r.reshape("queries_reshape", rows, vec![queries.clone(), Dim::from(1)])?;
        let offset = match lengths {
            Some(lengths) if before.as_size() == Some(0) => {
                let count = known(r, queries.clone())?;
                r.binary("offset", B::Sub, lengths, count)?
            }
            _ => known(r, before.clone())?,
        };
        let own = r.binary("own_place", B::Add, rows, offset)?;
        if causal {
            let allowed = r.binary("not_behind", B::LessOrEqual, numbers, own)?;
            bias.allow(r, "causal", allowed)?;
        }
        let ahead = r.binary("ahead", B::Sub, own, numbers)?;
        for (size, part, sign) in [(left, "left", 1), (right, "right", -1)] {
            if size < 0 {
                continue;
            }
            let limit = r.number(part, DataType::I64, sign * size)?;
            let within = if sign > 0 { B::LessOrEqual } else { B::GreaterOrEqual };
            let allowed = r.binary(&format!("{part}_within"), within, ahead, limit)?;
            bias.allow(r, &format!("{part}_window"), allowed)?;
        }
    }
    if let Some(lengths) = lengths {
        let there = r.binary("there", B::Less, numbers, lengths)?;
        bias.allow(r, "padding", there)?;
    }
    Ok(())
}

/// RotaryEmbedding: pairs of elements turned by angles whose cosines and sines are given.
pub(in crate::onnx) fn rotary(r: &mut Reader<'_, '_>) -> Result<()> {
    let (x, cosines, sines) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let ids = r.optional_input(3);
    let interleaved = r.flag("interleaved", false)?;
    let turned = r.int("rotary_embedding_dim")?.unwrap_or(0);
    let given = r.int("num_heads")?.filter(|&heads| heads > 0);
    let dims = r.dims(x);
    // To `[batch, sequence, heads, size]`.
    let apart = match dims.len() {
        4 => r.transpose("sequence_first", x, &[0, 2, 1, 3])?,
        3 => {
            let heads = given.ok_or_else(|| Error::bad_file("num_heads is missing"))?;
            let heads = Dim::from(heads);
            let size = r.dim(dims[2].floor_div(&heads))?;
            r.reshape("heads", x, vec![dims[0].clone(), dims[1].clone(), heads, size])?
        }
        rank => return Err(Error::bad_file(format!("its input has {rank} axes"))),
    };
    let size = r.dims(apart)[3].as_size();
    let size = size.ok_or_else(|| Error::unsupported("the size of a head is not known"))?;
    let turned = if turned == 0 { size } else { turned };
    if turned % 2 != 0 || !(0..=size).contains(&turned) {
        return Err(Error::bad_file(format!("{turned} of {size} elements are turned")));
    }
    let mut angle = |part: &str, cache: Value| -> Result<Value> {
        let mut cache = cache;
        if let Some(ids) = ids {
            let gather = amq_format::graph::Gather { axis: 0 };
            cache = r.emit(&format!("{part}_at"), Op::Gather(gather), &[cache, ids])?;
        }
        let mut shape = r.dims(cache);
        if shape.len() != 3 {
            return Err(Error::bad_file(format!("a cache of {} axes", shape.len())));
        }
        shape.insert(2, Dim::from(1));
        r.reshape(&format!("{part}_reshape"), cache, shape)
    };
    let (cosines, sines) = (angle("cos", cosines)?, angle("sin", sines)?);
    let half = turned / 2;
    let [first, second] = if interleaved {
        [(Dim::from(0), Dim::from(turned), 2), (Dim::from(1), Dim::from(turned), 2)]
    } else {
        [(Dim::from(0), Dim::from(half), 1), (Dim::from(half), Dim::from(turned), 1)]
    };
    let first = r.sliced("first", apart, 3, first)?;
    let second = r.sliced("second", apart, 3, second)?;
    let a = r.binary("cos_first", B::Mul, cosines, first)?;
    let b = r.binary("sin_second", B::Mul, sines, second)?;
    let real = r.binary("real", B::Sub, a, b)?;
    let a = r.binary("sin_first", B::Mul, sines, first)?;
    let b = r.binary("cos_second", B::Mul, cosines, second)?;
    let imaginary = r.binary("imaginary", B::Add, a, b)?;
    let mut whole = if interleaved {
        let mut pairs = r.dims(real);
        let joined = [&pairs[..3], &[Dim::from(turned)]].concat();
        pairs.push(Dim::from(1));
        let real = r.reshape("real_pairs", real, pairs.clone())?;
        let imaginary = r.reshape("imaginary_pairs", imaginary, pairs)?;
        let pairs = r.joined("pairs", 4, &[real, imaginary])?;
        r.reshape("turned", pairs, joined)?
    } else {
        r.joined("turned", 3, &[real, imaginary])?
    };
    if turned < size {
        let bounds = (Dim::from(turned), Dim::from(size), 1);
        let rest = r.sliced("rest", apart, 3, bounds)?;
        whole = r.joined("whole", 3, &[whole, rest])?;
    }
    let y = match dims.len() {
        4 => r.transpose("", whole, &[0, 2, 1, 3])?,
        _ => r.reshape("", whole, dims)?,
    };
    r.give(0, y)
}
