//! Models that a tool has quantized.

use super::*;
use crate::passes;

/// The arithmetic around a convolution whose input is quantized when the model runs, with a bias in
/// steps of `step`; a product's are of `x_scale w_scale`.
fn convolution(step: &str) -> String {
    let kernel = TensorProto {
        data_type: ElementType::Int8 as i32,
        raw_data: Some(Bytes::from_static(&[1, 2, 3, 255, 4, 0])),
        ..f32s("w", &[2, 1, 3], &[])
    };
    let build = Build::new(11).input("x", "1 1 6").initializer(kernel);
    let build = build.initializer(f32s("w_scale", &[], &[0.5]));
    let build = build.initializer(f32s("b", &[2], &[0.25, -1.0])).ints("channels", &[1, -1, 1]);
    let build = build.node("DynamicQuantizeLinear", "x", "q x_scale zero");
    let build =
        build.node("Mul", "x_scale w_scale", "step").node("Div", &format!("b {step}"), "b_0");
    let build = build.node("Floor", "b_0", "b_1");
    let build = build.node_with("Cast", "b_1", "b_2", &[("to", A::I(6))]);
    let build = build.node("Reshape", "b_2 channels", "b_3");
    let build = build.node("ConvInteger", "q w zero", "p").node("Add", "p b_3", "sum");
    let build = build.node_with("Cast", "sum", "float", &[("to", A::I(1))]);
    let build = build.node("Mul", "x_scale w_scale", "scales").node("Mul", "float scales", "y");
    let mut module = build.output("y").import().unwrap();
    passes::run(&mut module).unwrap();
    module.to_string()
}

#[test]
fn a_bias_in_steps_of_a_product_is_a_bias() {
    let text = convolution("step");
    let operators: Vec<&str> = text.lines().filter(|line| line.starts_with('%')).collect();
    assert!(matches!(operators[..], [conv] if conv.contains("= Conv(")), "{text}");
    assert!(text.contains("f32[2, 3, 1] = 0.5, 1, 1.5, -0.5, 2, 0\n"), "{text}");
    assert!(text.contains("f32[2] = 0.25, -1\n"), "{text}");
    // In other steps it is what it says.
    let text = convolution("w_scale");
    assert!(text.contains("= Round ") && text.contains("i32[1, 2, 1] = 0, -2\n"), "{text}");
}
