//! Convolutions and pooling.

use super::*;

/// A convolution on x, a bend, and the one that is tested, on `a` with 4 channels.
fn convolution(dims: &str, w: &[i64], attributes: &[(&str, A<'_>)], first: &[i64]) -> Build {
    let build = Build::new(17).input("x", dims).initializer(weight("first", first, 0.7));
    let build = build.node("Conv", "x first", "c").node("Tanh", "c", "a");
    let build = build.initializer(weight("w", w, 0.6)).initializer(weight("b", &w[..1], 0.5));
    build.node_with("Conv", "a w b", "y", attributes).output("y")
}

#[test]
fn convolutions_of_two_axes() {
    let same = |mode| ("auto_pad", A::S(mode));
    for (w, attributes) in [
        (&[3, 4, 3, 2], &[][..]),
        (&[3, 4, 1, 1], &[("strides", A::Is(&[2, 3]))]),
        (&[3, 4, 3, 3], &[("pads", A::Is(&[1, 2, 0, 1]))]),
        (&[3, 4, 2, 3], &[("pads", A::Is(&[4, 0, 5, 2])), ("strides", A::Is(&[2, 1]))]),
        (&[3, 4, 2, 3], &[("dilations", A::Is(&[3, 2])), ("strides", A::Is(&[1, 2]))]),
        (&[6, 2, 3, 3], &[("group", A::I(2)), ("pads", A::Is(&[1, 1, 1, 1]))]),
        (&[8, 1, 3, 3], &[("group", A::I(4)), ("strides", A::Is(&[2, 2]))]),
        (&[3, 4, 4, 3], &[same("SAME_UPPER"), ("strides", A::Is(&[2, 3]))]),
        (&[3, 4, 4, 2], &[same("SAME_LOWER")]),
    ] {
        let build = convolution("2 3 7 8", w, attributes, &[4, 3, 2, 2]);
        check(&build, &[&[2, 3, 7, 8]]);
    }
}

#[test]
fn convolutions_of_one_axis() {
    for attributes in [
        &[("pads", A::Is(&[2, 1])), ("dilations", A::Is(&[2]))][..],
        &[("auto_pad", A::S("SAME_UPPER")), ("strides", A::Is(&[2]))],
        &[("group", A::I(2)), ("strides", A::Is(&[3]))],
    ] {
        let groups = if attributes[0].0 == "group" { 2 } else { 1 };
        let build = convolution("3 2 9", &[6, 4 / groups, 3], attributes, &[4, 2, 1]);
        check(&build, &[&[3, 2, 9]]);
    }
}

/// Lines that are more than one matrix, of which some hold parts of two items.
fn large() -> (Build, [usize; 4]) {
    let pads = ("pads", A::Is(&[1, 1, 1, 1]));
    let group = ("group", A::I(2));
    (convolution("5 3 17 31", &[4, 32, 3, 3], &[pads, group], &[64, 3, 1, 1]), [5, 3, 17, 31])
}

#[test]
fn convolutions_of_many_lines() {
    let (build, dims) = large();
    check(&build, &[&dims]);
}

#[test]
fn threads_change_no_bit_of_a_convolution() {
    let (build, dims) = large();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut case = Case::new(&build, Some((2, Activations::Int8)), &[&dims]);
            let loss = case.loss(true);
            let gradients = case.params.all.into_iter().map(|param| param.gradient);
            (loss, gradients.collect::<Vec<_>>())
        })
    };
    assert_eq!(run(1), run(3));
}

/// What is coded is a pixel of a group, wherever it is read, and borders are 0.
#[test]
fn a_convolutional_student_gives_what_its_file_gives() {
    use Activations as On;
    let build = Build::new(17).input("x", "2 16 6 5");
    let build = build.initializer(weight("w", &[32, 16, 3, 3], 0.3));
    let build = build.initializer(weight("b", &[32], 0.3));
    let pads = ("pads", A::Is(&[1, 1, 1, 1]));
    let build =
        build.node_with("Conv", "x w b", "c", std::slice::from_ref(&pads)).node("Relu", "c", "r");
    let build = build.initializer(weight("v", &[32, 16, 3, 2], 0.3));
    let build = build.node_with("Conv", "r v", "y", &[("group", A::I(2)), pads]).output("y");
    for (bits, activations) in
        [(2, On::Int8), (2, On::Codes2), (1, On::Codes1), (3, On::Int16), (4, On::Codes4)]
    {
        let mut case = Case::new(&build, Some((bits, activations)), &[&[2, 16, 6, 5]]);
        assert_eq!(case.fitted.matrices.len(), 2);
        assert_near(&case.answers(), 1e-5);
        // The loss is linear in the last matrix, with what enters its product as it is coded.
        let loss = case.loss(true);
        let place = case.params.place(case.module.graph.nodes.len() - 1, 1).unwrap();
        let Data::F32(w) = &case.params.tensor(place).data else { panic!("floats") };
        let terms = w.iter().zip(&case.params.all[place.param].gradient);
        let found: f64 = terms.map(|(&w, &g)| f64::from(w) * f64::from(g)).sum();
        assert!((found - loss).abs() < 1e-5 * case.magnitude, "{found} is not {loss}");
    }
}
