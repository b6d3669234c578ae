//! Operators other than recurrent layers and views.

use super::*;

#[test]
fn convolutions_of_one_and_two_axes() {
    let text = Build::new(11)
        .input("x", "n 4 h w")
        .weight("k", &[6, 2, 3, 3])
        .weight("b", &[6])
        .node_with(
            "Conv",
            "x k b",
            "y",
            &[
                ("kernel_shape", A::Is(&[3, 3])),
                ("strides", A::Is(&[2, 1])),
                ("pads", A::Is(&[1, 1, 1, 1])),
                ("dilations", A::Is(&[1, 1])),
                ("group", A::I(2)),
            ],
        )
        .output("y")
        .ops();
    assert_eq!(
        text,
        "%Conv_0/weights = Transpose([0, 2, 3, 1]) %k : f32[6, 3, 3, 2]  # Conv_0/weights\n\
         %y = Conv(strides [2, 1], dilations [1, 1], pads [1, 1, 1, 1], Explicit, groups 2, f32) \
         %x, %Conv_0/weights, %b : f32[n, 6, (h + -1)/2 + 1, w]  # Conv_0\n\
         output %y: f32[n, 6, (h + -1)/2 + 1, w]\n"
    );
    let same = Build::new(11).input("x", "1 1 9").weight("k", &[1, 1, 2]);
    let same = same.node_with("Conv", "x k", "y", &[("auto_pad", A::S("SAME_LOWER"))]).output("y");
    assert!(same.ops().contains("SameLower"));
    let conv = |input: &str, kernel: &[i64], attributes: &[(&str, A<'_>)]| {
        let build = Build::new(11).input("x", input).weight("k", kernel);
        build.node_with("Conv", "x k", "y", attributes).output("y").error()
    };
    let four = conv("1 1 4 4 4 4", &[1, 1, 2, 2, 2, 2], &[]);
    assert!(four.contains("4 spatial axes; 1 to 3 are supported"), "{four}");
    let both = [("auto_pad", A::S("SAME_UPPER")), ("pads", A::Is(&[1, 0]))];
    assert!(conv("1 1 4", &[1, 1, 2], &both).contains("auto_pad is SAME_UPPER, and pads"));
    let kernel = conv("1 1 4", &[1, 1, 2], &[("kernel_shape", A::Is(&[3]))]);
    assert!(kernel.contains("kernel_shape [3] is not that of W"), "{kernel}");
    let strides = conv("1 1 4", &[1, 1, 2], &[("strides", A::Is(&[0]))]);
    assert!(strides.contains("strides is [0]; 1 numbers from 1 are needed"), "{strides}");
}

#[test]
fn pools_and_their_versions() {
    let pool = |op: &str, opset: i64, outputs: &str, extra: (&str, A<'_>)| {
        let attributes = [("kernel_shape", A::Is(&[2])), extra];
        Build::new(opset).input("x", "n 3 8").node_with(op, "x", outputs, &attributes).output("y")
    };
    let max = pool("MaxPool", 12, "y", ("ceil_mode", A::I(1)));
    assert!(max.ops().starts_with(
        "%y = MaxPool(kernel [2], strides [1], dilations [1], pads [0, 0], Explicit, ceil_mode) %x"
    ));
    let mean = pool("AveragePool", 7, "y", ("count_include_pad", A::I(1)));
    assert!(mean.ops().contains("Explicit, count_include_pad) %x : f32[n, 3, 7]"));
    let refused = |build: Build, what: &str| {
        let error = build.error();
        assert!(error.contains(what), "{error}");
    };
    let indices = pool("MaxPool", 12, "y i", ("storage_order", A::I(0)));
    assert!(indices.import().is_ok(), "nobody reads the indices");
    assert!(indices.output("i").ops().contains("%y, %i = MaxPool(kernel [2]"));
    refused(
        pool("MaxPool", 8, "y", ("ceil_mode", A::I(0))),
        "ceil_mode = 0 is not supported in opset 8",
    );
    refused(pool("MaxPool", 9, "y", ("dilations", A::Is(&[1]))), "dilations = [1]");
    refused(pool("AveragePool", 18, "y", ("dilations", A::Is(&[1]))), "dilations = [1]");
    let norm = pool("LpPool", 18, "y", ("p", A::I(2))).ops();
    assert!(norm.contains("SumPool(kernel [2]") && norm.contains("Sqrt"), "{norm}");
    refused(pool("LpPool", 17, "y", ("ceil_mode", A::I(0))), "ceil_mode = 0 is not supported");
    let global = Build::new(13).input("x", "n 3 h w").node("GlobalMaxPool", "x", "y").output("y");
    assert!(global.ops().starts_with("%y = ReduceMax([2, 3], keep_dims) %x : f32[n, 3, 1, 1]"));
}

#[test]
fn batch_normalization_is_a_factor_and_an_offset() {
    let build = |opset: i64, outputs: &str, attributes: &[(&str, A<'_>)]| {
        let mut build = Build::new(opset).input("x", "n 2 w");
        for name in ["scale", "bias", "mean", "variance"] {
            build = build.weight(name, &[2]);
        }
        let inputs = "x scale bias mean variance";
        build.node_with("BatchNormalization", inputs, outputs, attributes).output("y")
    };
    assert_eq!(
        build(15, "y", &[("epsilon", A::F(0.5)), ("momentum", A::F(0.9))]).ops(),
        "%BatchNormalization_0/variance = Add %variance, %BatchNormalization_0/epsilon : f32[2]  # BatchNormalization_0/variance\n\
         %BatchNormalization_0/deviation = Sqrt %BatchNormalization_0/variance : f32[2]  # BatchNormalization_0/deviation\n\
         %BatchNormalization_0/factor = Div %scale, %BatchNormalization_0/deviation : f32[2]  # BatchNormalization_0/factor\n\
         %BatchNormalization_0/shift = Mul %mean, %BatchNormalization_0/factor : f32[2]  # BatchNormalization_0/shift\n\
         %BatchNormalization_0/offset = Sub %bias, %BatchNormalization_0/shift : f32[2]  # BatchNormalization_0/offset\n\
         %BatchNormalization_0/factor_reshape = Reshape([2, 1]) %BatchNormalization_0/factor : f32[2, 1]  # BatchNormalization_0/factor_reshape\n\
         %BatchNormalization_0/offset_reshape = Reshape([2, 1]) %BatchNormalization_0/offset : f32[2, 1]  # BatchNormalization_0/offset_reshape\n\
         %BatchNormalization_0 = Mul %x, %BatchNormalization_0/factor_reshape : f32[n, 2, w]  # BatchNormalization_0\n\
         %y = Add %BatchNormalization_0, %BatchNormalization_0/offset_reshape : f32[n, 2, w]  # BatchNormalization_0/add\n\
         output %y: f32[n, 2, w]\n"
    );
    assert!(build(7, "y", &[("spatial", A::I(1))]).import().is_ok());
    assert!(build(7, "y", &[("spatial", A::I(0))]).error().contains("spatial = 0"));
    assert!(build(9, "y", &[("spatial", A::I(1))]).error().contains("spatial = 1"));
    assert!(build(7, "y m", &[]).output("m").error().contains("output 1 (\"m\")"));
}

#[test]
fn gemm_is_a_product_and_what_surrounds_it() {
    let plain = Build::new(13).input("a", "n 3").weight("b", &[4, 3]).weight("c", &[4]);
    let text = plain.node_with("Gemm", "a b c", "y", &[("transB", A::I(1))]).output("y").ops();
    assert_eq!(
        text,
        "%Gemm_0/b = Transpose([1, 0]) %b : f32[3, 4]  # Gemm_0/b\n\
         %Gemm_0 = MatMul %a, %Gemm_0/b : f32[n, 4]  # Gemm_0\n\
         %y = Add %Gemm_0, %c : f32[n, 4]  # Gemm_0/add\n\
         output %y: f32[n, 4]\n"
    );
    let scaled = Build::new(13).input("a", "3 n").weight("b", &[3, 4]).weight("c", &[1]).node_with(
        "Gemm",
        "a b c",
        "y",
        &[("transA", A::I(1)), ("alpha", A::F(0.5)), ("beta", A::F(2.0))],
    );
    let text = scaled.output("y").text();
    assert!(
        text.contains("%Gemm_0/alpha: f32[] = 0.5") && text.contains("%Gemm_0/beta: f32[] = 2")
    );
    assert!(text.contains("%Gemm_0/alpha_mul = Mul %Gemm_0, %Gemm_0/alpha : f32[n, 4]"), "{text}");
    assert!(text.contains("%Gemm_0/beta_mul = Mul %c, %Gemm_0/beta : f32[1]"), "{text}");
    let large = Build::new(13).input("a", "1 3").weight("b", &[3, 4]).weight("c", &[2, 4]);
    let error = large.node("Gemm", "a b c", "y").output("y").error();
    assert!(error.contains("C has a larger shape"), "{error}");
    let open = Build::new(13).input("b", "3 n").weight("a", &[2, 3]).weight("c", &[4]);
    let error = open.node("Gemm", "a b c", "y").output("y").error();
    assert!(error.contains("whether C fits the shape [2, n] depends"), "{error}");
}

#[test]
fn a_slope_must_fit_and_a_bound_be_a_number() {
    let prelu = |slope: &[i64]| {
        let build = Build::new(16).input("x", "n c 2").weight("slope", slope);
        build.node("PRelu", "x slope", "y").output("y").text()
    };
    assert!(prelu(&[2]).contains("%y = Prelu %x, %slope : f32[n, c, 2]"), "{}", prelu(&[2]));
    assert!(prelu(&[3, 1]).contains("whether the slope fits the shape [n, c, 2] depends"));
    assert!(prelu(&[3]).contains("sizes 2 and 3 cannot be broadcast"), "{}", prelu(&[3]));
    assert!(prelu(&[1, 1, 1, 2]).contains("the slope has a larger shape than [n, c, 2]"));
    let clip = Build::new(13).input("x", "n").initializer(f32s("low", &[], &[f32::NAN]));
    let clip = clip.initializer(f32s("high", &[], &[1.0])).node("Clip", "x low high", "y");
    assert!(clip.output("y").error().contains("a bound is NaN"));
    let wide = Build::new(13).input("x", "n").weight("low", &[2]).node("Clip", "x low", "y");
    assert!(wide.output("y").error().contains("a bound is not a scalar"));
    let one = Build::new(13).input("x", "n").weight("low", &[1]).node("Clip", "x low", "y");
    assert!(one.output("y").ops().contains("f32[n]"));
}

#[test]
fn statistics_are_one_for_each_channel() {
    let norm = |x: &str, size: i64| {
        let mut build = Build::new(15).input("x", x);
        for name in ["s", "b", "m", "v"] {
            build = build.weight(name, &[size]);
        }
        build.node("BatchNormalization", "x s b m v", "y").output("y").text()
    };
    assert!(norm("n 3 2", 3).contains("output %y: f32[n, 3, 2]"), "{}", norm("n 3 2", 3));
    for (x, size, words) in [
        ("n 3 2", 1, "its input 1 has the shape [1], for 3 channels"),
        ("n 1 2", 3, "its input 1 has the shape [3], for 1 channels"),
        ("n c 2", 3, "whether statistics of size 3 fit c channels is not known"),
    ] {
        assert!(norm(x, size).contains(words), "{}", norm(x, size));
    }
}

#[test]
fn softmax_of_old_flattens() {
    let softmax = |opset: i64, axis: i64| {
        let build = Build::new(opset).input("x", "n 3 4");
        build.node_with("Softmax", "x", "y", &[("axis", A::I(axis))]).output("y").ops()
    };
    assert_eq!(
        softmax(11, 1),
        "%Softmax_0/flatten = Reshape([n, 12]) %x : f32[n, 12]  # Softmax_0/flatten\n\
         %Softmax_0 = Softmax(1) %Softmax_0/flatten : f32[n, 12]  # Softmax_0\n\
         %y = Reshape([n, 3, 4]) %Softmax_0 : f32[n, 3, 4]  # Softmax_0/unflatten\n\
         output %y: f32[n, 3, 4]\n"
    );
    assert!(softmax(11, 2).starts_with("%y = Softmax(2) %x"));
    assert!(softmax(13, 1).starts_with("%y = Softmax(1) %x"));
    let default = Build::new(13).input("x", "n 3 4").node("LogSoftmax", "x", "y").output("y");
    assert!(default.ops().starts_with("%y = LogSoftmax(2) %x"));
}

#[test]
fn clip_has_bounds_of_three_kinds() {
    let old = Build::new(7).input("x", "n").node_with("Clip", "x", "y", &[("max", A::F(6.0))]);
    assert!(
        old.output("y").ops().starts_with("%y = Clip(-340282350000000000000000000000000000000, 6)")
    );
    let new = |low: &[f32], high: &[f32]| {
        let build = Build::new(13).input("x", "n").initializer(f32s("low", &[], low));
        build.initializer(f32s("high", &[], high)).node("Clip", "x low high", "y").output("y").ops()
    };
    assert!(new(&[-1.0], &[1.0]).starts_with("%y = Clip(-1, 1) %x"));
    // Where the bounds cross, ONNX gives the upper one.
    assert!(new(&[2.0], &[1.0]).starts_with("%y = Clip(1, 1) %x"));
    let dynamic = Build::new(13).input("x", "n").input("low", "").input("high", "");
    let text = dynamic.clone().node("Clip", "x low high", "y").output("y").ops();
    assert!(
        text.contains("%Clip_0/max = Max %x, %low") && text.contains("%y = Min %Clip_0/max, %high")
    );
    let upper = dynamic.node("Clip", "x _ high", "y").output("y").ops();
    assert!(upper.starts_with("%y = Min %x, %high : f32[n]  # Clip_0\n"), "{upper}");
}

#[test]
fn reductions_take_axes_from_attributes_or_inputs() {
    let reduce = |op: &str, opset: i64, inputs: &str, attributes: &[(&str, A<'_>)]| {
        let build = Build::new(opset).input("x", "n 3 4").ints("axes", &[-1, 1]).ints("none", &[]);
        build.node_with(op, inputs, "y", attributes).output("y").text()
    };
    let keep = || ("keepdims", A::I(0));
    let axes = || ("axes", A::Is(&[-1, 1]));
    assert!(
        reduce("ReduceMean", 17, "x", &[axes(), keep()]).contains("ReduceMean([1, 2]) %x : f32[n]")
    );
    assert!(
        reduce("ReduceMean", 18, "x axes", &[keep()]).contains("ReduceMean([1, 2]) %x : f32[n]")
    );
    assert!(reduce("ReduceSum", 13, "x axes", &[]).contains("ReduceSum([1, 2], keep_dims)"));
    assert!(reduce("ReduceSum", 13, "x axes", &[axes()]).contains("attribute axes"));
    assert!(
        reduce("ReduceMax", 12, "x axes", &[]).contains("its input 1 (\"axes\") is not supported")
    );
    assert!(reduce("ReduceMin", 18, "x none", &[]).contains("ReduceMin([0, 1, 2], keep_dims)"));
    let identity = [("noop_with_empty_axes", A::I(1))];
    assert!(reduce("ReduceMin", 18, "x none", &identity).contains("%y = Reshape([n, 3, 4]) %x"));
}

#[test]
fn functions_have_the_specs_parameters() {
    let function = |op: &str, opset: i64, attributes: &[(&str, A<'_>)]| {
        let build = Build::new(opset).input("x", "n");
        let text = build.node_with(op, "x", "y", attributes).output("y").ops();
        text.split(" %x").next().unwrap().to_owned()
    };
    assert_eq!(function("LeakyRelu", 7, &[]), "%y = LeakyRelu(0.01)");
    assert_eq!(function("Elu", 7, &[("alpha", A::F(0.5))]), "%y = Elu(0.5)");
    assert_eq!(function("Selu", 7, &[]), "%y = Selu(1.6732632, 1.050701)");
    assert_eq!(function("Selu", 7, &[("gamma", A::F(2.0))]), "%y = Selu(1.6732632, 2)");
    assert_eq!(function("HardSigmoid", 7, &[]), "%y = HardSigmoid(0.2, 0.5)");
    assert_eq!(function("Celu", 12, &[]), "%y = Celu(1)");
    assert_eq!(function("ThresholdedRelu", 10, &[]), "%y = ThresholdedRelu(1)");
    assert_eq!(function("HardSwish", 14, &[]), "%y = HardSwish");
    let early = Build::new(13).input("x", "n").node("HardSwish", "x", "y").output("y").error();
    assert!(early.contains("the operator exists since opset 14, and the model uses 13"), "{early}");
}

#[test]
fn powers_of_integers_are_whole() {
    let pow = |exponent: TensorProto| {
        let build = Build::new(13).typed("x", ElementType::Int32, "n").initializer(exponent);
        build.node("Pow", "x e", "y").output("y").text()
    };
    assert!(pow(f32s("e", &[], &[3.0])).contains("%y = Pow %x, %Pow_0/cast : i32[n]"));
    assert!(pow(f32s("e", &[], &[0.5])).contains("an integer to a power that may have a fraction"));
    assert!(pow(i64s("e", &[], &[2])).contains("constant %Pow_0/cast: i32[] = 2"));
}

#[test]
fn variadic_functions_are_chains() {
    let build = Build::new(13).input("a", "n").input("b", "n").input("c", "n");
    assert_eq!(
        build.clone().node("Mean", "a b c", "y").output("y").ops(),
        "%Mean_0/partial_1 = Add %a, %b : f32[n]  # Mean_0/partial_1\n\
         %Mean_0/sum = Add %Mean_0/partial_1, %c : f32[n]  # Mean_0/sum\n\
         %y = Div %Mean_0/sum, %Mean_0/count : f32[n]  # Mean_0\n\
         output %y: f32[n]\n"
    );
    assert!(build.node("Max", "a", "y").output("y").ops().contains("%y = Reshape([n]) %a"));
}

#[test]
fn what_passes_its_input_on_leaves_no_operator() {
    let text = Build::new(13)
        .typed("x", ElementType::Float, "n")
        .initializer(f32s("ratio", &[], &[0.5]))
        .node("Identity", "x", "i")
        .node_with("Dropout", "i ratio", "d mask", &[("seed", A::I(3))])
        .node_with("Cast", "d", "c", &[("to", A::I(1))])
        .node("Relu", "c", "y")
        .output("y")
        .ops();
    assert_eq!(text, "%y = Relu %x : f32[n]  # Relu_3\noutput %y: f32[n]\n");
    let mask = Build::new(13).input("x", "n").node("Dropout", "x", "y mask").output("mask").text();
    assert!(mask.contains("constant %Dropout_0/kept: bool[] = 1\n%mask = Expand([n])"), "{mask}");
    let mut training = i64s("t", &[], &[]);
    training.data_type = ElementType::Bool as i32;
    training.int32_data = vec![1];
    let training = Build::new(13).input("x", "n").initializer(training);
    let error = training.node("Dropout", "x _ t", "y").output("y").error();
    assert!(error.contains("training_mode is true"), "{error}");
}

#[test]
fn constants_of_every_kind() {
    let constant = |name: &str, value: A<'_>| {
        Build::new(13).node_with("Constant", "", "y", &[(name, value)]).output("y").text()
    };
    assert!(constant("value_float", A::F(0.5)).starts_with("constant %y: f32[] = 0.5\n"));
    assert!(constant("value_ints", A::Is(&[1, 2])).starts_with("constant %y: i64[2] = 1, 2\n"));
    assert!(
        constant("value", A::T(f32s("", &[2], &[1.0, 2.0])))
            .starts_with("constant %y: f32[2] = 1, 2\n")
    );
    assert!(constant("value_string", A::S("x")).contains("it has no value"));
}

#[test]
fn other_precisions_become_f32_with_a_note() {
    let mut half = f32s("w", &[2], &[]);
    half.data_type = ElementType::Float16 as i32;
    half.raw_data = None;
    half.int32_data = vec![0x3c00, 0xc000];
    let text = Build::new(13)
        .typed("x", ElementType::Float16, "n 2")
        .initializer(half)
        .node("Mul", "x w", "y")
        .output("y")
        .text();
    assert_eq!(
        text,
        "note constants of another float type, changed to f32: 1\n\
         input %x: f32[n, 2] of f16\n\
         constant %w: f32[2] = 1, -2\n\
         %Mul_0 = Mul %x, %w : f32[n, 2]  # Mul_0\n\
         %y = ToF16 %Mul_0 : f32[n, 2]  # Mul_0/round\n\
         output %y: f32[n, 2] of f16\n"
    );
    // What an input is fixed to is a number of its type.
    let build = Build::new(13).typed("x", ElementType::Float16, "2").node("Neg", "x", "y");
    let fixed = |text: &str| {
        let fixed = vec![("x".to_owned(), text.to_owned())];
        build.clone().output("y").import_with(&Interface { fixed, ..Interface::default() })
    };
    let text = fixed("0.1,2").unwrap().to_string();
    assert!(text.contains("constant %x: f32[2] = 0.099975586, 2\n"), "{text}");
    let error = fixed("1e6,2").unwrap_err().to_string();
    assert!(error.contains("--fix x=1e6,2: x: 1000000 is too large for float16"), "{error}");
    let mut double = f32s("w", &[1], &[]);
    double.data_type = ElementType::Double as i32;
    double.raw_data = None;
    double.double_data = vec![1e300];
    let error = Build::new(13).initializer(double).node("Abs", "w", "y").output("y").error();
    assert!(error.contains("initializer \"w\": 1e300 exceeds the range of f32"), "{error}");
}

#[test]
fn a_cast_knows_the_type_of_what_was_computed() {
    let cast_like = |build: Build| {
        let build = build.typed("h", ElementType::Float16, "n").input("x", "n");
        build.node("CastLike", "x like", "y").output("y").text()
    };
    let half = |text: &str| {
        assert!(text.contains("%y = ToF16 %x"), "{text}");
        assert!(text.ends_with("output %y: f32[n] of f16\n"), "{text}");
    };
    half(&cast_like(Build::new(19).node("Sigmoid", "h", "like")));
    half(&cast_like(Build::new(19).node("Neg", "h", "like")));
    let float = |text: &str| {
        assert!(!text.contains("%y = ToF16"), "{text}");
        assert!(text.ends_with("output %y: f32[n]\n"), "{text}");
    };
    float(&cast_like(Build::new(19).node_with("Cast", "h", "like", &[("to", A::I(1))])));
    let chosen = Build::new(19).typed("go", ElementType::Bool, "n");
    float(&cast_like(chosen.node("Where", "go x x", "like")));
    let places =
        Build::new(19).typed("b", ElementType::Uint8, "n").initializer(i64s("k", &[1], &[2]));
    let places = places.node("TopK", "b k", "v like").input("x", "n");
    let text = places.node("CastLike", "x like", "y").output("y").text();
    assert!(text.ends_with("output %y: i64[n]\n"), "{text}");
}

#[test]
fn old_initializers_are_no_inputs_and_new_ones_are_defaults() {
    let mut build = Build::new(13).input("x", "n").input("w", "2").weight("w", &[2]);
    build = build.node("Mul", "x w", "y").output("y");
    assert!(build.text().starts_with("note input \"w\" has a default value"));
    build.model.ir_version = 3;
    assert!(build.text().starts_with("input %x: f32[n]\nconstant %w: f32[2] = 1, 1\n%y"));
}

#[test]
fn unnamed_dimensions_get_names_of_their_own() {
    let build = Build::new(13).input("a", "_ 2 _").input("b", "a.0 2");
    let text = build.node("Abs", "a", "y").output("y").text();
    assert!(text.starts_with("input %a: f32[a.0', 2, a.2]\ninput %b: f32[a.0, 2]\n"), "{text}");
}

#[test]
fn the_largest_and_smallest_are_chosen_in_all_opsets() {
    let of = |opset, attributes: &[(&str, A<'_>)], k: bool| {
        let build = Build::new(opset).input("x", "n 8");
        let build = if k { build.initializer(i64s("k", &[1], &[3])) } else { build };
        let inputs = if k { "x k" } else { "x" };
        build.node_with("TopK", inputs, "v i", attributes).output("v").output("i").text()
    };
    assert!(of(9, &[("k", A::I(3))], false).contains("%v, %i = Largest(3 along 1) %x"));
    let text = of(11, &[("axis", A::I(-1)), ("largest", A::I(0)), ("sorted", A::I(0))], true);
    assert!(text.contains("%v, %i = Smallest(3 along 1, unsorted) %x : f32[n, 3], i64[n, 3]"));
    assert!(of(11, &[("axis", A::I(0))], true).contains("Largest(3 along 0) %x : f32[3, 8]"));
}
