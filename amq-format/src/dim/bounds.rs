//! What a dimension is certainly not below, whatever its names, each at least 1, stand for.

use super::{Dim, DimError, DimKind, DimOp};

impl Dim {
    /// Whether it is certainly not negative.
    pub(super) fn at_least_zero(&self) -> Result<bool, DimError> {
        Ok(self.least()?.is_some_and(|least| least >= 0))
    }

    /// A number that it is certainly not below, if one is found.
    pub(super) fn least(&self) -> Result<Option<i64>, DimError> {
        let mut sum = 0i64;
        for (factors, coefficient) in self.polynomial()? {
            let mut term = coefficient;
            for factor in &factors {
                match factor.least_of_factor()? {
                    Some(least) if coefficient > 0 && least >= 0 => {
                        term = term.saturating_mul(least);
                    }
                    _ => return Ok(None),
                }
            }
            sum = sum.checked_add(term).ok_or(DimError::Overflow)?;
        }
        Ok(Some(sum))
    }

    /// The same of what is neither a number nor a sum or product.
    fn least_of_factor(&self) -> Result<Option<i64>, DimError> {
        let expr = match &self.kind {
            Some(DimKind::Name(_)) => return Ok(Some(1)),
            Some(DimKind::Expr(expr)) => expr,
            _ => return Ok(None),
        };
        let mut each = expr.args.iter().map(Dim::least);
        match DimOp::try_from(expr.op) {
            Ok(DimOp::FloorDiv) => match expr.args.as_slice() {
                [dividend, divisor] => {
                    let divisor = divisor.as_size().filter(|&size| size > 0);
                    let least = dividend.least()?;
                    Ok(least.zip(divisor).map(|(least, size)| least.div_euclid(size)))
                }
                _ => Ok(None),
            },
            Ok(DimOp::Max) => each.try_fold(None, |most, least| Ok(most.max(least?))),
            Ok(DimOp::Min | DimOp::Broadcast) => {
                let first = each.next().transpose()?.flatten();
                each.try_fold(first, |all, least| Ok(all.zip(least?).map(|(a, b)| a.min(b))))
            }
            _ => Ok(None),
        }
    }
}
