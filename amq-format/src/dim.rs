//! Dimensions: a number, a name, or an expression of names.
//!
//! Names stand for sizes of at least 1. Expressions of `+` and `*` are kept as polynomials in one normal
//! form, so that equal sizes compare equal.

use crate::error::Quoted;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// One dimension of a tensor, or one element of a shape computed from dimensions.
///
/// Elements of shapes may be negative (as the start of a slice may be); a dimension may not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
#[prost(skip_debug)]
pub struct Dim {
    #[prost(oneof = "DimKind", tags = "1, 2, 3")]
    kind: Option<DimKind>,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Oneof)]
enum DimKind {
    #[prost(sint64, tag = "1")]
    Size(i64),
    #[prost(string, tag = "2")]
    Name(String),
    #[prost(message, tag = "3")]
    Expr(DimExpr),
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
struct DimExpr {
    #[prost(enumeration = "DimOp", tag = "1")]
    op: i32,
    #[prost(message, repeated, tag = "2")]
    args: Vec<Dim>,
}

/// What an expression of dimensions computes from its arguments, of which it has two or more: the
/// first and the second, then the result and the third, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DimOp {
    /// Sum.
    Add = 0,
    /// Product.
    Mul = 1,
    /// Quotient, rounded towards minus infinity.
    FloorDiv = 2,
    /// The largest.
    Max = 3,
    /// The smallest.
    Min = 4,
    /// The size of broadcast dimensions: of two either, if equal or if the other is 1.
    Broadcast = 5,
}

/// Why a dimension cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DimError {
    /// A result does not fit 64 bits.
    Overflow,
    /// An expression has too many terms or is nested too deeply.
    TooComplex,
    /// Division by zero.
    DivisionByZero,
    /// A name has no size.
    Unbound(String),
    /// Two sizes cannot be broadcast.
    Incompatible(i64, i64),
    /// The message holds no dimension or an unknown or badly formed expression.
    Malformed,
}

impl fmt::Display for DimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DimError::Overflow => f.write_str("a size does not fit 64 bits"),
            DimError::TooComplex => f.write_str("an expression of dimensions is too complex"),
            DimError::DivisionByZero => f.write_str("a size is divided by zero"),
            DimError::Unbound(name) => write!(f, "the dimension {} has no size", Quoted(name)),
            DimError::Incompatible(a, b) => write!(f, "sizes {a} and {b} cannot be broadcast"),
            DimError::Malformed => f.write_str("a dimension is malformed"),
        }
    }
}

impl core::error::Error for DimError {}

/// Terms of a polynomial, in their order: sorted factors, none a number, and their coefficient.
type Polynomial = Vec<(Vec<Dim>, i64)>;

const MAX_TERMS: usize = 32;
const MAX_FACTORS: usize = 16;
const MAX_DEPTH: usize = 12;
/// Bounds what products of sums, each inside the next, would otherwise grow to.
const MAX_PARTS: usize = 512;

/// As it is displayed: `batch`, `2*seq + 1`.
impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<i64> for Dim {
    fn from(size: i64) -> Dim {
        Dim { kind: Some(DimKind::Size(size)) }
    }
}

impl Dim {
    /// The dimension called `name`.
    pub fn named(name: impl Into<String>) -> Dim {
        Dim { kind: Some(DimKind::Name(name.into())) }
    }

    /// The number, where this is one.
    pub fn as_size(&self) -> Option<i64> {
        match self.kind {
            Some(DimKind::Size(size)) => Some(size),
            _ => None,
        }
    }

    /// The name, where this is one name alone.
    pub fn as_name(&self) -> Option<&str> {
        match &self.kind {
            Some(DimKind::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// What is computed and of what, if it is an expression.
    pub fn as_expression(&self) -> Option<(DimOp, &[Dim])> {
        match &self.kind {
            Some(DimKind::Expr(expr)) => Some((DimOp::try_from(expr.op).ok()?, &expr.args)),
            _ => None,
        }
    }

    /// The terms, where this is the size that they have when broadcast together.
    pub fn as_broadcast(&self) -> Option<&[Dim]> {
        self.as_expression().filter(|(op, _)| *op == DimOp::Broadcast).map(|(_, args)| args)
    }

    /// `self + other`.
    pub fn add(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Some(a), Some(b)) = (self.as_size(), other.as_size()) {
            return a.checked_add(b).map(Dim::from).ok_or(DimError::Overflow);
        }
        let mut sum = self.polynomial()?;
        for (factors, coefficient) in other.polynomial()? {
            add_term(&mut sum, factors, coefficient)?;
        }
        Dim::from_polynomial(sum)
    }

    /// `self - other`.
    pub fn sub(&self, other: &Dim) -> Result<Dim, DimError> {
        self.add(&other.mul(&Dim::from(-1))?)
    }

    /// `self * other`.
    pub fn mul(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Some(a), Some(b)) = (self.as_size(), other.as_size()) {
            return a.checked_mul(b).map(Dim::from).ok_or(DimError::Overflow);
        }
        let (left, right) = (self.polynomial()?, other.polynomial()?);
        let mut product = Polynomial::new();
        for (fa, ca) in &left {
            for (fb, cb) in &right {
                let mut factors: Vec<Dim> = fa.iter().chain(fb).cloned().collect();
                if factors.len() > MAX_FACTORS {
                    return Err(DimError::TooComplex);
                }
                factors.sort_unstable();
                add_term(&mut product, factors, ca.checked_mul(*cb).ok_or(DimError::Overflow)?)?;
            }
        }
        Dim::from_polynomial(product)
    }

    /// The product of dimensions; 1 of none.
    pub fn product(dims: &[Dim]) -> Result<Dim, DimError> {
        dims.iter().try_fold(Dim::from(1), |product, dim| product.mul(dim))
    }

    /// `self / other`, rounded towards minus infinity.
    pub fn floor_div(&self, other: &Dim) -> Result<Dim, DimError> {
        if other.as_size() == Some(0) {
            return Err(DimError::DivisionByZero);
        }
        if let (Some(a), Some(b)) = (self.as_size(), other.as_size()) {
            return floor_div(a, b).map(Dim::from);
        }
        if let Some((dividend, divisor)) = self.quotient_over(other)? {
            return dividend.floor_div(&divisor);
        }
        let divisor = other.polynomial()?;
        if let [(divisor_factors, divisor_coefficient)] = divisor.as_slice() {
            // Terms that the divisor divides leave the quotient; what remains decides the rest.
            let (mut quotient, mut rest) = (Polynomial::new(), Polynomial::new());
            for (factors, coefficient) in self.polynomial()? {
                match without(&factors, divisor_factors) {
                    Some(left) if coefficient.checked_rem(*divisor_coefficient) == Some(0) => {
                        add_term(&mut quotient, left, coefficient / divisor_coefficient)?;
                    }
                    _ => add_term(&mut rest, factors, coefficient)?,
                }
            }
            let rest = Dim::from_polynomial(rest)?;
            let quotient = Dim::from_polynomial(quotient)?;
            return match (rest.as_size(), other.as_size()) {
                (Some(0), _) => Ok(quotient),
                (Some(r), Some(d)) => quotient.add(&Dim::from(floor_div(r, d)?)),
                _ => Dim::expression(DimOp::FloorDiv, vec![self.clone(), other.clone()]),
            };
        }
        Dim::expression(DimOp::FloorDiv, vec![self.clone(), other.clone()])
    }

    /// `self / other`, rounded towards plus infinity.
    pub fn ceil_div(&self, other: &Dim) -> Result<Dim, DimError> {
        let minus = Dim::from(-1);
        self.mul(&minus)?.floor_div(other)?.mul(&minus)
    }

    /// The larger of the two.
    pub fn larger(&self, other: &Dim) -> Result<Dim, DimError> {
        self.ordered(other, DimOp::Max)
    }

    /// The smaller of the two.
    pub fn smaller(&self, other: &Dim) -> Result<Dim, DimError> {
        self.ordered(other, DimOp::Min)
    }

    fn ordered(&self, other: &Dim, op: DimOp) -> Result<Dim, DimError> {
        let sizes = self.as_size().zip(other.as_size());
        let (larger, smaller) = if let Some((a, b)) = sizes {
            if a >= b { (self, other) } else { (other, self) }
        } else if self.sub(other)?.at_least_zero()? {
            (self, other)
        } else if other.sub(self)?.at_least_zero()? {
            (other, self)
        } else {
            let mut args = vec![self.clone(), other.clone()];
            args.sort_unstable();
            return Dim::expression(op, args);
        };
        Ok(if op == DimOp::Max { larger.clone() } else { smaller.clone() })
    }

    /// The dimension that the two give when broadcast together.
    pub fn broadcast(&self, other: &Dim) -> Result<Dim, DimError> {
        match (self.as_size(), other.as_size()) {
            _ if self == other => Ok(self.clone()),
            (Some(1), _) => Ok(other.clone()),
            (_, Some(1)) => Ok(self.clone()),
            (Some(a), Some(b)) => Err(DimError::Incompatible(a, b)),
            (Some(_), None) => Ok(self.clone()),
            (None, Some(_)) => Ok(other.clone()),
            (None, None) => {
                // What is not 1 is the size of both.
                let sure = |dim: &Dim| dim.least().map(|least| least.is_some_and(|size| size > 1));
                let (mine, others) = (sure(self)?, sure(other)?);
                if mine || others {
                    let both = mine && others;
                    return Ok(if (both && self < other) || !others { self } else { other }.clone());
                }
                let mut args = vec![self.clone(), other.clone()];
                args.sort_unstable();
                Dim::expression(DimOp::Broadcast, args)
            }
        }
    }

    /// The number that this stands for when names have the sizes that `size_of` gives.
    pub fn eval(&self, size_of: &dyn Fn(&str) -> Option<i64>) -> Result<i64, DimError> {
        self.substitute(&|name| size_of(name).map(Dim::from))?.as_size().ok_or(DimError::Malformed)
    }

    /// This dimension with every name replaced by what `dim_of` gives for it, and simplified.
    pub fn substitute(&self, dim_of: &dyn Fn(&str) -> Option<Dim>) -> Result<Dim, DimError> {
        let expr = match &self.kind {
            None => return Err(DimError::Malformed),
            Some(DimKind::Size(_)) => return Ok(self.clone()),
            Some(DimKind::Name(name)) => {
                return dim_of(name).ok_or_else(|| DimError::Unbound(name.clone()));
            }
            Some(DimKind::Expr(expr)) => expr,
        };
        let op = DimOp::try_from(expr.op).map_err(|_| DimError::Malformed)?;
        let mut args = expr.args.iter().map(|arg| arg.substitute(dim_of));
        let mut result = args.next().ok_or(DimError::Malformed)??;
        for arg in args {
            let arg = arg?;
            result = match op {
                DimOp::Add => result.add(&arg)?,
                DimOp::Mul => result.mul(&arg)?,
                DimOp::FloorDiv => result.floor_div(&arg)?,
                DimOp::Max => result.larger(&arg)?,
                DimOp::Min => result.smaller(&arg)?,
                DimOp::Broadcast => result.broadcast(&arg)?,
            };
        }
        Ok(result)
    }

    /// Checks that the message is well formed and uses only names that `known` accepts.
    pub fn check(&self, known: &dyn Fn(&str) -> bool) -> Result<(), DimError> {
        match &self.kind {
            None => Err(DimError::Malformed),
            Some(DimKind::Size(_)) => Ok(()),
            Some(DimKind::Name(name)) if known(name) => Ok(()),
            Some(DimKind::Name(name)) => Err(DimError::Unbound(name.clone())),
            Some(DimKind::Expr(expr)) => {
                DimOp::try_from(expr.op).map_err(|_| DimError::Malformed)?;
                if expr.args.len() < 2 {
                    return Err(DimError::Malformed);
                }
                if self.too_complex() {
                    return Err(DimError::TooComplex);
                }
                expr.args.iter().try_for_each(|arg| arg.check(known))
            }
        }
    }

    fn expression(op: DimOp, args: Vec<Dim>) -> Result<Dim, DimError> {
        let dim = Dim { kind: Some(DimKind::Expr(DimExpr { op: op as i32, args })) };
        if dim.too_complex() { Err(DimError::TooComplex) } else { Ok(dim) }
    }

    fn too_complex(&self) -> bool {
        self.depth() > MAX_DEPTH || self.parts() > MAX_PARTS
    }

    /// Numbers, names and expressions that this is made of.
    fn parts(&self) -> usize {
        match &self.kind {
            Some(DimKind::Expr(expr)) => 1 + expr.args.iter().map(Dim::parts).sum::<usize>(),
            _ => 1,
        }
    }

    /// Bytes that this takes in memory.
    pub fn memory(&self) -> usize {
        size_of::<Dim>()
            + match &self.kind {
                Some(DimKind::Name(name)) => name.len(),
                Some(DimKind::Expr(expr)) => expr.args.iter().map(Dim::memory).sum(),
                _ => 0,
            }
    }

    fn depth(&self) -> usize {
        match &self.kind {
            Some(DimKind::Expr(expr)) => {
                1 + expr.args.iter().map(Dim::depth).max().unwrap_or_default()
            }
            _ => 0,
        }
    }

    fn polynomial(&self) -> Result<Polynomial, DimError> {
        let mut terms = Polynomial::new();
        match &self.kind {
            None => return Err(DimError::Malformed),
            Some(DimKind::Size(size)) => add_term(&mut terms, Vec::new(), *size)?,
            Some(DimKind::Expr(expr)) if expr.op == DimOp::Add as i32 => {
                for arg in &expr.args {
                    let (coefficient, factors) = arg.term()?;
                    add_term(&mut terms, factors, coefficient)?;
                }
            }
            Some(_) => {
                let (coefficient, factors) = self.term()?;
                add_term(&mut terms, factors, coefficient)?;
            }
        }
        Ok(terms)
    }

    /// One term of a normal form: its coefficient and its other factors.
    fn term(&self) -> Result<(i64, Vec<Dim>), DimError> {
        let mut coefficient = 1i64;
        let mut factors = Vec::new();
        let parts = match &self.kind {
            Some(DimKind::Expr(expr)) if expr.op == DimOp::Mul as i32 => expr.args.as_slice(),
            _ => core::slice::from_ref(self),
        };
        for part in parts {
            match part.as_size() {
                Some(size) => {
                    coefficient = coefficient.checked_mul(size).ok_or(DimError::Overflow)?;
                }
                None => factors.push(part.clone()),
            }
        }
        factors.sort_unstable();
        Ok((coefficient, factors))
    }

    fn from_polynomial(terms: Polynomial) -> Result<Dim, DimError> {
        let mut sum = Vec::with_capacity(terms.len());
        for (mut factors, coefficient) in terms {
            if factors.is_empty() || coefficient != 1 {
                factors.push(Dim::from(coefficient));
            }
            sum.push(if factors.len() == 1 {
                factors.remove(0)
            } else {
                Dim::expression(DimOp::Mul, factors)?
            });
        }
        match sum.len() {
            0 => Ok(Dim::from(0)),
            1 => Ok(sum.remove(0)),
            // The number, if there is one, comes first of the terms and reads better last.
            _ => {
                let number_first = sum[0].as_size().is_some();
                sum.rotate_left(usize::from(number_first));
                Dim::expression(DimOp::Add, sum)
            }
        }
    }
}

fn floor_div(a: i64, b: i64) -> Result<i64, DimError> {
    let quotient = a.checked_div(b).ok_or(DimError::Overflow)?;
    Ok(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

fn add_term(terms: &mut Polynomial, factors: Vec<Dim>, by: i64) -> Result<(), DimError> {
    let at = terms.partition_point(|term| term.0 < factors);
    match terms.get_mut(at).filter(|term| term.0 == factors) {
        Some(term) => term.1 = term.1.checked_add(by).ok_or(DimError::Overflow)?,
        None => terms.insert(at, (factors, by)),
    }
    if terms[at].1 == 0 {
        terms.remove(at);
    }
    if terms.len() > MAX_TERMS { Err(DimError::TooComplex) } else { Ok(()) }
}

/// The sorted `factors` less those of `divisor`, if it divides them.
fn without(factors: &[Dim], divisor: &[Dim]) -> Option<Vec<Dim>> {
    let mut left = factors.to_vec();
    for factor in divisor {
        let position = left.iter().position(|f| f == factor)?;
        left.remove(position);
    }
    Some(left)
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expr = match &self.kind {
            None => return f.write_str("?"),
            Some(DimKind::Size(size)) => return write!(f, "{size}"),
            Some(DimKind::Name(name)) => return f.write_str(name),
            Some(DimKind::Expr(expr)) => expr,
        };
        let separator = match DimOp::try_from(expr.op) {
            Ok(DimOp::Add) => " + ",
            Ok(DimOp::Mul) => "*",
            Ok(DimOp::FloorDiv) => "/",
            Ok(DimOp::Max) => return write_call(f, "max", &expr.args),
            Ok(DimOp::Min) => return write_call(f, "min", &expr.args),
            Ok(DimOp::Broadcast) => return write_call(f, "broadcast", &expr.args),
            Err(_) => return f.write_str("?"),
        };
        for (i, arg) in expr.args.iter().enumerate() {
            let compound = matches!(&arg.kind, Some(DimKind::Expr(inner))
                if inner.op <= DimOp::FloorDiv as i32 && expr.op != DimOp::Add as i32);
            let (open, close) = if compound { ("(", ")") } else { ("", "") };
            write!(f, "{}{open}{arg}{close}", if i > 0 { separator } else { "" })?;
        }
        Ok(())
    }
}

fn write_call(f: &mut fmt::Formatter<'_>, name: &str, args: &[Dim]) -> fmt::Result {
    write!(f, "{name}(")?;
    for (i, arg) in args.iter().enumerate() {
        write!(f, "{}{arg}", if i > 0 { ", " } else { "" })?;
    }
    f.write_str(")")
}

mod bounds;
mod names;
mod quotient;
#[cfg(test)]
mod tests;
