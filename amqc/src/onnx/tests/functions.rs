//! Functions that a model defines, and what they are where they are called.

use super::*;

/// A function of the domain "own" made of the nodes of `body`.
fn function(name: &str, inputs: &str, outputs: &str, body: Build) -> FunctionProto {
    FunctionProto {
        name: name.into(),
        domain: "own".into(),
        input: names(inputs),
        output: names(outputs),
        node: body.model.graph.unwrap().node,
        ..FunctionProto::default()
    }
}

/// `x` and a weight, and a node that calls `name` with them.
fn caller(name: &str, outputs: &str, attributes: &[(&str, A<'_>)]) -> Build {
    let model = Build::new(13).input("x", "n 4").weight("w", &[4]);
    let mut model = model.node_with(name, "x w", outputs, attributes);
    model.graph().node[0].domain = "own".into();
    model.graph().node[0].name = "call".into();
    model
}

fn referring(build: Build, attribute: &str, to: &str) -> Build {
    let mut build = build;
    let node = build.graph().node.last_mut().unwrap();
    node.attribute.push(AttributeProto {
        name: attribute.into(),
        ref_attr_name: to.into(),
        ..AttributeProto::default()
    });
    build
}

#[test]
fn functions_are_put_where_they_are_called() {
    let mut model = caller("Scaled", "y", &[]).node("Neg", "y", "call/s").output("call/s");
    let body = Build::new(13).node("Mul", "a b", "s").node("Abs", "s", "r");
    model.model.functions.push(function("Scaled", "a b c", "r", body));
    assert_eq!(
        model.ops(),
        "%call/s' = Mul %x, %w : f32[n, 4]  # call/Mul_0\n\
         %y = Abs %call/s' : f32[n, 4]  # call/Abs_1\n\
         %call/s = Neg %y : f32[n, 4]  # Neg_2\n\
         output %call/s: f32[n, 4]\n"
    );
}

#[test]
fn attributes_of_calls_reach_the_nodes_or_have_defaults() {
    let body = || referring(Build::new(13).node("LeakyRelu", "a", "r"), "alpha", "slope");
    let text = |attributes: &[(&str, A<'_>)], default: Option<f32>| {
        let mut model = caller("Leaky", "y", attributes).output("y");
        let mut function = function("Leaky", "a b", "r", body());
        function.attribute_proto.extend(default.map(|f| attribute("slope", &A::F(f))));
        model.model.functions.push(function);
        model.text()
    };
    assert!(text(&[("slope", A::F(0.5))], None).contains("LeakyRelu(0.5)"));
    assert!(text(&[("slope", A::F(0.5))], Some(0.25)).contains("LeakyRelu(0.5)"));
    assert!(text(&[], Some(0.25)).contains("LeakyRelu(0.25)"));
    assert!(text(&[], None).contains("LeakyRelu(0.01)"));
}

#[test]
fn functions_call_functions_but_not_without_end() {
    let call = |name: &str| {
        let mut build = Build::new(13).node(name, "a b", "r");
        build.graph().node[0].domain = "own".into();
        build
    };
    let mut model = caller("Outer", "y", &[]).output("y");
    let inner = Build::new(13).node("Sub", "b a", "r");
    model.model.functions.push(function("Inner", "a b", "r", inner));
    let outer = function("Outer", "a b", "r", call("Inner"));
    model.model.functions.push(outer);
    assert!(model.ops().starts_with("%y = Sub %w, %x : f32[n, 4]  # call/Inner_0/Sub_0\n"));
    model.model.functions[0] = function("Inner", "a b", "r", call("Outer"));
    assert!(model.error().contains("nested too deeply"));
    // Each calls the next twice.
    model.model.functions.clear();
    for level in 0..30 {
        let next = format!("F{}", level + 1);
        let mut twice = call(&next);
        let mut second = twice.graph().node[0].clone();
        second.output[0] = "s".into();
        twice.graph().node.push(second);
        model.model.functions.push(function(&format!("F{level}"), "a b", "r", twice));
    }
    model.graph().node[0].op_type = "F0".into();
    assert!(model.error().contains("too large"), "{}", model.error());
}

#[test]
fn an_input_that_passes_through_is_the_same() {
    let mut model = caller("Same", "y", &[]).node("Abs", "y", "z").output("z");
    model.model.functions.push(function("Same", "a b", "a", Build::new(13)));
    assert!(model.ops().starts_with("%z = Abs %x : f32[n, 4]"));
}

#[test]
fn a_function_of_another_opset_is_refused() {
    let mut model = caller("Old", "y", &[]).output("y");
    let mut old = function("Old", "a b", "r", Build::new(13).node("Abs", "a", "r"));
    old.opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 12 }];
    model.model.functions.push(old);
    assert!(model.error().contains("its function is of opset 12, the model of 13"));
}
