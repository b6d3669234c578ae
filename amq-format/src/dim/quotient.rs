//! Quotients of quotients.

use super::{Dim, DimError, DimKind, DimOp};

impl Dim {
    /// `(x / b + k) / c` as `(x + k b)` and `b c`, for positive numbers b and c.
    pub(super) fn quotient_over(&self, other: &Dim) -> Result<Option<(Dim, Dim)>, DimError> {
        let terms = self.polynomial()?;
        let mut quotients = terms.iter().filter(|(factors, _)| !factors.is_empty());
        let (Some((factors, 1)), None, Some(c)) =
            (quotients.next(), quotients.next(), other.as_size())
        else {
            return Ok(None);
        };
        let [Dim { kind: Some(DimKind::Expr(expr)) }] = &factors[..] else { return Ok(None) };
        match (DimOp::try_from(expr.op), expr.args.as_slice()) {
            (Ok(DimOp::FloorDiv), [x, b]) if c > 0 && b.as_size().is_some_and(|b| b > 0) => {
                let number = terms.iter().find(|(factors, _)| factors.is_empty());
                let k = Dim::from(number.map_or(0, |&(_, k)| k));
                Ok(Some((x.add(&k.mul(b)?)?, b.mul(other)?)))
            }
            _ => Ok(None),
        }
    }
}
