//! LSTM, GRU and RNN.

use super::*;

/// A recurrent layer of hidden size 3 over an input of size 2.
fn layer(op: &str, gates: i64, attributes: &[(&str, A<'_>)]) -> Build {
    let directions = attributes
        .iter()
        .any(|(name, value)| *name == "direction" && matches!(value, A::S("bidirectional")));
    let directions = 1 + i64::from(directions);
    Build::new(14)
        .input("x", "seq batch 2")
        .weight("w", &[directions, gates * 3, 2])
        .weight("r", &[directions, gates * 3, 3])
        .node_with(op, "x w r", "y", attributes)
        .output("y")
}

#[test]
fn defaults_are_the_specs() {
    let op = |op, gates| layer(op, gates, &[]).ops();
    assert_eq!(
        op("LSTM", 4),
        "%y = Lstm(3, Forward, Sigmoid Tanh Tanh, f32, f32) %x, %w, %r : f32[seq, 1, batch, 3]  # LSTM_0\n\
         output %y: f32[seq, 1, batch, 3]\n"
    );
    assert!(op("GRU", 3).contains("Gru(3, Forward, Sigmoid Tanh, f32, f32)"));
    assert!(op("RNN", 1).contains("Rnn(3, Forward, Tanh, f32, f32)"));
}

#[test]
fn every_input_and_attribute_arrives() {
    let text = Build::new(7)
        .input("x", "seq batch 2")
        .weight("w", &[2, 12, 2])
        .weight("r", &[2, 12, 3])
        .weight("b", &[2, 24])
        .typed("lens", ElementType::Int32, "batch")
        .input("h0", "2 batch 3")
        .input("c0", "2 batch 3")
        .weight("p", &[2, 9])
        .node_with(
            "LSTM",
            "x w r b lens h0 c0 p",
            "y _ yc",
            &[
                ("hidden_size", A::I(3)),
                ("direction", A::S("bidirectional")),
                ("clip", A::F(1.5)),
                ("input_forget", A::I(1)),
            ],
        )
        .output("y")
        .output("yc")
        .ops();
    assert_eq!(
        text,
        "%y, _, %yc = Lstm(3, Bidirectional, Sigmoid Tanh Tanh Sigmoid Tanh Tanh, clip 1.5, \
         input_forget, f32, f32) %x, %w, %r, %b, %lens, %h0, %c0, %p : f32[seq, 2, batch, 3], \
         f32[2, batch, 3]  # LSTM_0\n\
         output %y: f32[seq, 2, batch, 3]\n\
         output %yc: f32[2, batch, 3]\n"
    );
    let reset =
        layer("GRU", 3, &[("linear_before_reset", A::I(1)), ("direction", A::S("reverse"))]);
    assert!(reset.ops().contains("Gru(3, Reverse, Sigmoid Tanh, linear_before_reset, f32, f32)"));
}

#[test]
fn parameters_go_to_the_functions_that_take_them() {
    let functions = ["hardsigmoid", "TANH", "LeakyRelu", "Elu", "ScaledTanh", "Affine"];
    let text = layer(
        "LSTM",
        4,
        &[
            ("direction", A::S("bidirectional")),
            ("activations", A::Ss(&functions)),
            ("activation_alpha", A::Fs(&[0.25, 0.125, 2.0, 3.0, 4.0])),
            ("activation_beta", A::Fs(&[0.75, 5.0, 6.0])),
        ],
    )
    .ops();
    let expected =
        "HardSigmoid(0.25, 0.75) Tanh LeakyRelu(0.125) Elu(2) ScaledTanh(3, 5) Affine(4, 6)";
    assert!(text.contains(expected), "{text}");

    let functions = ["HardSigmoid", "ThresholdedRelu", "LeakyRelu"];
    let text = layer("LSTM", 4, &[("activations", A::Ss(&functions))]).ops();
    let expected = "HardSigmoid(0.2, 0.5) ThresholdedRelu(0.99999994) LeakyRelu(0.01)";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn ambiguous_parameters_are_refused() {
    let refused = |attributes: &[(&str, A<'_>)]| layer("RNN", 1, attributes).error();
    let affine = refused(&[("activations", A::Ss(&["Affine"]))]);
    assert!(affine.contains("activation Affine has no alpha"), "{affine}");
    let extra = refused(&[("activation_alpha", A::Fs(&[0.5]))]);
    assert!(extra.contains("activation_alpha has 1 values, and the activations take 0"), "{extra}");
    let unknown = refused(&[("activations", A::Ss(&["Swish"]))]);
    assert!(unknown.contains("activation \"Swish\" is not one of Relu"), "{unknown}");
    let count = refused(&[("activations", A::Ss(&["Tanh", "Tanh"]))]);
    assert!(count.contains("2 activations are given, 1 are needed"), "{count}");
}

#[test]
fn batch_first_is_transposed_around_the_layer() {
    let text = Build::new(14)
        .input("x", "batch seq 2")
        .weight("w", &[1, 9, 2])
        .weight("r", &[1, 9, 3])
        .input("h0", "batch 1 3")
        .node_with("GRU", "x w r _ _ h0", "y yh", &[("layout", A::I(1))])
        .output("y")
        .output("yh")
        .ops();
    assert_eq!(
        text,
        "%GRU_0/x = Transpose([1, 0, 2]) %x : f32[seq, batch, 2]  # GRU_0/x\n\
         %GRU_0/initial_h = Transpose([1, 0, 2]) %h0 : f32[1, batch, 3]  # GRU_0/initial_h\n\
         %GRU_0, %GRU_0_2 = Gru(3, Forward, Sigmoid Tanh, f32, f32) %GRU_0/x, %w, %r, _, _, \
         %GRU_0/initial_h : f32[seq, 1, batch, 3], f32[1, batch, 3]  # GRU_0\n\
         %y = Transpose([2, 0, 1, 3]) %GRU_0 : f32[batch, seq, 1, 3]  # GRU_0/y\n\
         %yh = Transpose([1, 0, 2]) %GRU_0_2 : f32[batch, 1, 3]  # GRU_0/y_h\n\
         output %y: f32[batch, seq, 1, 3]\n\
         output %yh: f32[batch, 1, 3]\n"
    );
}

#[test]
fn what_a_version_or_a_cell_lacks_is_refused() {
    let early = |attribute: &str| {
        let mut build = layer("LSTM", 4, &[(attribute, A::I(0))]);
        build.model.opset_import[0].version = 13;
        build.error()
    };
    assert!(early("layout").contains("attribute layout = 0 is not supported in opset 13"));
    assert!(early("output_sequence").contains("output_sequence"));
    let gru = layer("GRU", 3, &[("input_forget", A::I(1))]).error();
    assert!(gru.contains("node \"GRU_0\" (GRU)") && gru.contains("input_forget = 1"), "{gru}");
    let zero = layer("LSTM", 4, &[("clip", A::F(0.0))]).error();
    assert!(zero.contains("clip is 0"), "{zero}");
    let size = layer("LSTM", 4, &[("hidden_size", A::I(4))]).error();
    assert!(size.contains("hidden_size is 4, and R's is 3"), "{size}");
}

#[test]
fn weights_that_are_computed_stay_for_folding_and_are_checked_after() {
    let constant = layer("RNN", 1, &[]).import().unwrap();
    assert_eq!(constant.check_weights(), Ok(()));
    let module = Build::new(18)
        .input("x", "seq batch 2")
        .input("w", "1 3 2")
        .weight("r", &[1, 3, 3])
        .node("RNN", "x w r", "y")
        .output("y")
        .import()
        .unwrap();
    let error = module.check_weights().unwrap_err().to_string();
    assert!(error.contains("node \"RNN_0\": W of Recurrent (\"w\")"), "{error}");
}
