use super::*;
use alloc::string::ToString;

fn name(s: &str) -> Dim {
    Dim::named(s)
}

#[test]
fn sums_and_products_have_one_normal_form() {
    let (a, b) = (name("a"), name("b"));
    let left = a.add(&b).unwrap().mul(&Dim::from(3)).unwrap();
    let right = b.mul(&Dim::from(3)).unwrap().add(&a.mul(&Dim::from(3)).unwrap()).unwrap();
    assert_eq!(left, right);
    assert_eq!(left.sub(&right).unwrap(), Dim::from(0));
    assert_eq!(left.to_string(), "a*3 + b*3");
}

#[test]
fn divisions_that_are_exact_leave_no_trace() {
    let elements = name("seq").mul(&name("batch")).unwrap().mul(&Dim::from(300)).unwrap();
    assert_eq!(elements.floor_div(&Dim::from(300)).unwrap().to_string(), "batch*seq");
    assert_eq!(elements.floor_div(&name("seq")).unwrap().to_string(), "batch*300");
    let odd = name("w").mul(&Dim::from(2)).unwrap().add(&Dim::from(-1)).unwrap();
    assert_eq!(odd.floor_div(&Dim::from(2)).unwrap().to_string(), "w + -1");
    assert_eq!(odd.ceil_div(&Dim::from(2)).unwrap().to_string(), "w");
}

#[test]
fn sizes_that_a_node_gives_are_in_normal_form() {
    let given = Dim::given("m");
    assert_eq!(given, name("m").add(&Dim::from(-1)).unwrap());
    assert_eq!(given.as_given(), Some("m"));
    assert_eq!(given.larger(&Dim::from(0)).unwrap(), given);
    assert_eq!(name("m").as_given(), None);
    assert_eq!(name("m").add(&name("n")).unwrap().as_given(), None);
}

#[test]
fn names_are_at_least_one() {
    let last = name("t").add(&Dim::from(-1)).unwrap();
    assert_eq!(last.larger(&Dim::from(0)).unwrap(), last);
    assert_eq!(name("t").smaller(&Dim::from(1)).unwrap(), Dim::from(1));
    assert_eq!(name("t").larger(&Dim::from(2)).unwrap().to_string(), "max(2, t)");
}

#[test]
fn expressions_evaluate_as_the_numbers_do() {
    let size_of = |n: &str| match n {
        "h" => Some(17),
        "w" => Some(1),
        _ => None,
    };
    let out = name("h").add(&Dim::from(-3)).unwrap().floor_div(&Dim::from(2)).unwrap();
    assert_eq!(out.add(&Dim::from(1)).unwrap().eval(&size_of), Ok(8));
    assert_eq!(name("h").broadcast(&name("w")).unwrap().eval(&size_of), Ok(17));
    assert_eq!(name("x").eval(&size_of), Err(DimError::Unbound("x".into())));
    let huge = Dim::from(i64::MAX);
    assert_eq!(huge.add(&Dim::from(1)), Err(DimError::Overflow));
    assert_eq!(huge.larger(&Dim::from(-5)), Ok(huge));
    assert_eq!(Dim::from(1).floor_div(&Dim::from(0)), Err(DimError::DivisionByZero));
    assert_eq!(Dim::from(i64::MIN).floor_div(&Dim::from(-1)), Err(DimError::Overflow));
}

#[test]
fn what_grows_without_bound_is_refused() {
    let mut dim = name("a");
    let grown = (0..100).try_for_each(|i| {
        dim = dim.larger(&name(&alloc::format!("n{i}")))?;
        Ok::<_, DimError>(())
    });
    assert_eq!(grown, Err(DimError::TooComplex));
    let mut dim = name("a");
    let multiplied = (0..4).try_for_each(|_| {
        let sum = dim.add(&name("b"))?;
        dim = (0..6).try_fold(Dim::from(1), |power, _| power.mul(&sum))?;
        dim = dim.floor_div(&name("c").add(&name("d"))?)?;
        Ok::<_, DimError>(())
    });
    assert_eq!(multiplied, Err(DimError::TooComplex));
}

#[test]
fn quotients_and_maxima_are_not_below_their_parts() {
    let (n, zero) = (Dim::named("n"), Dim::from(0));
    let half = n.floor_div(&Dim::from(2)).unwrap();
    assert_eq!(half.larger(&zero), Ok(half.clone()));
    let most = half.larger(&Dim::from(1)).unwrap();
    assert_eq!(most.larger(&zero), Ok(most.clone()));
    assert_eq!(most.larger(&Dim::from(1)), Ok(most.clone()));
    let less = n.add(&Dim::from(-3)).unwrap();
    assert_ne!(less.larger(&zero), Ok(less.clone()));
    let quotient = less.floor_div(&Dim::from(2)).unwrap();
    assert_ne!(quotient.larger(&zero), Ok(quotient));
}

#[test]
fn quotients_of_quotients_are_one() {
    let n = Dim::named("n");
    let half = n.add(&Dim::from(-1)).unwrap().floor_div(&Dim::from(2)).unwrap();
    let quarter = half.add(&Dim::from(3)).unwrap().floor_div(&Dim::from(2)).unwrap();
    assert_eq!(quarter, n.add(&Dim::from(5)).unwrap().floor_div(&Dim::from(4)).unwrap());
    for size in 1..30 {
        let expected = ((size - 1i64).div_euclid(2) + 3).div_euclid(2);
        assert_eq!(quarter.eval(&|_| Some(size)), Ok(expected));
    }
}

#[test]
fn a_size_above_one_is_that_of_both() {
    let (n, m) = (Dim::named("n"), Dim::named("m"));
    let twice = n.mul(&Dim::from(2)).unwrap();
    assert_eq!(m.broadcast(&twice), Ok(twice.clone()));
    assert_eq!(twice.broadcast(&m), Ok(twice));
    assert!(n.broadcast(&m).unwrap().as_broadcast().is_some());
}
