//! The network of `fixtures/golden/v1.0.amq`: every operator, every kind of tensor, a state, a
//! stream and a provenance.

use super::{Builder, named, sizes, unary};
use amq_format::Draft;
use amq_format::graph::*;

const SIGMOID: UnaryFunction = UnaryFunction::Sigmoid;
const TANH: UnaryFunction = UnaryFunction::Tanh;

fn coding(bits: u32, rows: u64) -> MultiBit {
    let coefficients = CoefficientType::F16 as i32;
    MultiBit { bits, rows, group: 0, coefficients, offset: false }
}

pub fn draft() -> Draft {
    let mut b = Builder::new();
    speech(&mut b);
    image(&mut b);
    places(&mut b);
    control(&mut b);
    found(&mut b);
    let provenance = String::from(r#"{"source":"by hand","report":[]}"#);
    Draft { provenance: Some(provenance), ..b.draft() }
}

/// A table, three recurrent layers and products.
fn speech(b: &mut Builder) {
    let (time, batch) = (named("time"), named("batch"));
    b.input("tokens", DataType::I64, &[time.clone(), batch.clone()]);
    b.input("hidden", DataType::F32, &[1.into(), batch.clone(), 3.into()]);
    b.input("lengths", DataType::I32, std::slice::from_ref(&batch));
    b.stream("tokens", 0, Some(1));

    b.multi_bit("table", &[5, 70], MultiBit { offset: true, ..coding(2, 5) });
    b.node("embed", &["table", "tokens"], &["x"], Op::Gather(Gather { axis: 0 }));

    let grouped = MultiBit {
        group: 32,
        coefficients: CoefficientType::F32 as i32,
        offset: true,
        ..coding(3, 12)
    };
    b.multi_bit("lstm.W", &[1, 12, 70], grouped);
    b.multi_bit("lstm.R", &[1, 12, 3], coding(1, 12));
    b.f32s("lstm.B", &[1, 24], (0..24).map(|i| i as f32 / 8.0));
    b.f32s("lstm.P", &[1, 9], (0..9).map(|i| i as f32 / -16.0));
    b.f32s("start", &[1, 1, 3], [0.5, -0.25, 1e-30]);
    let lstm = Recurrent {
        cell: Cell::Lstm as i32,
        hidden_size: 3,
        direction: Direction::Forward as i32,
        functions: vec![unary(SIGMOID), unary(TANH), unary(TANH)],
        clip: Some(8.0),
        input_forget: true,
        linear_before_reset: false,
        activations: Activations::Int8 as i32,
        recurrent_activations: Activations::Int8 as i32,
    };
    b.node(
        "lstm",
        &["x", "lstm.W", "lstm.R", "lstm.B", "lengths", "hidden", "", "lstm.P"],
        &["lstm.y", "hidden.next", ""],
        Op::Recurrent(lstm.into()),
    );
    b.node(
        "squeeze",
        &["lstm.y"],
        &["y"],
        Op::Reshape(Reshape { dims: vec![time.clone(), batch.clone(), 3.into()] }),
    );

    b.multi_bit("gru.W", &[2, 6, 3], coding(4, 12));
    b.multi_bit("gru.R", &[2, 6, 2], coding(2, 12));
    let affine = Unary { function: UnaryFunction::Affine as i32, alpha: 0.5, beta: 0.25 };
    let gru = Recurrent {
        cell: Cell::Gru as i32,
        hidden_size: 2,
        direction: Direction::Bidirectional as i32,
        functions: vec![unary(SIGMOID), unary(TANH), affine, unary(TANH)],
        clip: None,
        input_forget: false,
        linear_before_reset: true,
        activations: Activations::Codes2 as i32,
        recurrent_activations: Activations::Codes3 as i32,
    };
    b.node("gru", &["y", "gru.W", "gru.R"], &["gru.y"], Op::Recurrent(gru.into()));
    let order = Transpose { perm: vec![0, 2, 1, 3] };
    b.node("order", &["gru.y"], &["gru.t"], Op::Transpose(order));
    b.node(
        "join",
        &["gru.t"],
        &["z"],
        Op::Reshape(Reshape { dims: vec![time.clone(), batch.clone(), 4.into()] }),
    );

    b.f32s("rnn.W", &[1, 2, 4], (0..8).map(|i| 1.0 - i as f32));
    b.f32s("rnn.R", &[1, 2, 2], [0.5, 0.25, -0.5, 1.0]);
    let rnn = Recurrent {
        cell: Cell::Rnn as i32,
        hidden_size: 2,
        direction: Direction::Reverse as i32,
        functions: vec![unary(UnaryFunction::Relu)],
        clip: None,
        input_forget: false,
        linear_before_reset: false,
        activations: Activations::F32 as i32,
        recurrent_activations: Activations::F32 as i32,
    };
    b.node("rnn", &["z", "rnn.W", "rnn.R"], &["", "last"], Op::Recurrent(rnn.into()));

    b.multi_bit("out.W", &[6, 4], coding(2, 6));
    b.f32s("out.bias", &[6], (0..6).map(|i| i as f32));
    let linear = Linear { activations: Activations::Codes4 as i32 };
    b.node("out", &["z", "out.W", "out.bias"], &["scores"], Op::Linear(linear));
    b.node("softmax", &["scores"], &["logits"], Op::Softmax(Softmax { axis: 2, log: true }));
    let best = TopK { axis: 2, k: vec![2.into()], smallest: false, unsorted: true };
    b.node("best", &["logits"], &["", "best"], Op::TopK(best));
    b.output("best", DataType::I64, &[time.clone(), batch.clone(), 2.into()]);
    b.output("logits", DataType::F32, &[time, batch.clone(), 6.into()]);
    b.stream("logits", 0, None);
    b.output("hidden.next", DataType::F32, &[1.into(), batch.clone(), 3.into()]);
    b.state("hidden", "hidden.next", "start");
    b.output("last", DataType::F32, &[1.into(), batch, 2.into()]);
}

/// Convolution, pooling and the operators that compute and move elements.
fn image(b: &mut Builder) {
    let width = named("width");
    b.input("image", DataType::F32, &[1.into(), 2.into(), 6.into(), width.clone()]);
    let begins = Vec::from(sizes([0, 0, 1, 0]));
    let ends = vec![0.into(), 0.into(), 0.into(), width.smaller(&Dim::from(2)).expect("small")];
    let pad = Pad { mode: PadMode::Edge as i32, begins, ends };
    b.node("pad", &["image"], &["padded"], Op::Pad(pad));
    b.multi_bit("conv.W", &[4, 3, 3, 1], coding(3, 4));
    b.f32s("conv.bias", &[4], [0.0, 1.0, 2.0, f32::MIN_POSITIVE]);
    let conv = Conv {
        strides: vec![2, 1],
        dilations: vec![1, 1],
        pads: vec![1, 0, 1, 2],
        auto_pad: AutoPad::Explicit as i32,
        groups: 2,
        activations: Activations::Codes1 as i32,
    };
    b.node("conv", &["padded", "conv.W", "conv.bias"], &["maps"], Op::Conv(conv));
    let pool = Pool {
        kind: PoolKind::Average as i32,
        kernel: vec![2, 2],
        strides: vec![2, 2],
        dilations: vec![1, 1],
        pads: vec![0; 4],
        auto_pad: AutoPad::SameUpper as i32,
        ceil_mode: false,
        count_include_pad: true,
    };
    b.node("pool", &["maps"], &["pooled"], Op::Pool(pool));
    let reduce = Reduce { kind: ReduceKind::Mean as i32, axes: vec![2, 3], keep_dims: false };
    b.node("mean", &["pooled"], &["means"], Op::Reduce(reduce));
    b.f32s("square", &[4, 4], (0..16).map(|i| if i == 3 { f32::INFINITY } else { i as f32 }));
    b.node("product", &["means", "square"], &["mixed"], Op::MatMul(MatMul {}));
    let clip = Unary { function: UnaryFunction::Clip as i32, alpha: -1.0, beta: 6.0 };
    b.node("clip", &["mixed"], &["clipped"], Op::Unary(clip));
    let greater = Binary { function: BinaryFunction::Greater as i32 };
    b.node("greater", &["clipped", "means"], &["mask"], Op::Binary(greater));
    b.node("select", &["mask", "clipped", "means"], &["chosen"], Op::Select(Select {}));
    b.node("concat", &["chosen", "means"], &["both"], Op::Concat(Concat { axis: 1 }));
    let slice = Slice {
        axes: vec![1],
        starts: vec![(-1).into()],
        ends: vec![i64::MIN.into()],
        steps: vec![-2],
    };
    b.node("slice", &["both"], &["some"], Op::Slice(slice));
    b.node("expand", &["some"], &["wide"], Op::Expand(Expand { dims: vec![width, 4.into()] }));
    b.node("cast", &["wide"], &["bytes"], Op::Cast(Cast { to: DataType::U8 as i32 }));
    b.output("bytes", DataType::U8, &[named("width"), 4.into()]);
    let squared = named("width").mul(&named("width")).expect("a product");
    b.node("dims", &[], &["size"], Op::Dims(Dims { dims: vec![squared, 4.into()] }));
    b.output("size", DataType::I64, &sizes([2]));
    // Constants of the types that nothing above has.
    b.tensor("flags", DataType::Bool, &[3], vec![1, 0, 1]);
    b.tensor("small", DataType::I8, &[2], vec![0xff, 1]);
    b.tensor("none", DataType::I32, &[0, 2], vec![]);
    b.tensor("one", DataType::I32, &[], vec![0xfe, 0xff, 0xff, 0xff]);
    b.tensor("long", DataType::I64, &[1], i64::MIN.to_le_bytes().to_vec());
    b.tensor("pixels", DataType::U8, &[1, 2], vec![0, 255]);
    b.tensor("short", DataType::I16, &[1], vec![0xfe, 0xff]);
    b.tensor("word", DataType::U16, &[1], vec![0xfe, 0xff]);
    b.tensor("count", DataType::U32, &[1], vec![0xff; 4]);
    b.tensor("all", DataType::U64, &[1], vec![0xff; 8]);
    let names =
        ["flags", "small", "none", "one", "long", "pixels", "short", "word", "count", "all"];
    for name in names {
        let tensor = b.graph.tensors.iter().find(|t| b.graph.values[t.value as usize] == name);
        let tensor = tensor.expect("just added").clone();
        let dims: Vec<Dim> = tensor.dims.iter().map(|&dim| Dim::from(dim as i64)).collect();
        b.output(name, tensor.data_type(), &dims);
    }
}

/// What indices, sequences, windows and places between entries are for; each node an output.
fn places(b: &mut Builder) {
    let i64s = |b: &mut Builder, name: &str, dims: &[u64], data: &[i64]| {
        let bytes = data.iter().flat_map(|i| i.to_le_bytes()).collect();
        b.tensor(name, DataType::I64, dims, bytes);
    };
    b.noise("places.x", &[1, 4, 3, 4]);
    b.noise("places.m", &[3, 4]);
    i64s(b, "places.i", &[2, 4], &[0, -1, 2, 1, 1, 1, 0, -3]);
    i64s(b, "places.nd", &[2, 2], &[2, -1, 0, 3]);
    i64s(b, "places.lengths", &[3], &[4, 0, 2]);
    i64s(b, "places.images", &[2], &[0, 0]);
    b.noise("places.u", &[2, 4]);
    b.noise("places.v", &[2]);
    b.noise("places.grid", &[1, 2, 3, 2]);
    b.f32s("places.regions", &[2, 4], [0.0, 0.5, 3.0, 2.0, 1.0, 0.0, 1.25, 4.0]);
    let scatter = ScatterElements { axis: 0, kind: ScatterKind::Add as i32 };
    let sum =
        Cumulative { kind: CumulativeKind::Sum as i32, axis: 1, exclusive: true, reverse: true };
    let fold = Fold {
        kernel: vec![2, 2],
        strides: vec![2, 1],
        dilations: vec![1, 2],
        pads: vec![1, 0],
        sizes: Vec::from(sizes([5, 6])),
    };
    let resize = Resize {
        mode: Interpolation::Cubic as i32,
        placement: Placement::HalfPixel as i32,
        rounding: Rounding::HalfDown as i32,
        axes: vec![2, 3],
        sizes: Vec::from(sizes([5, 3])),
        scales: vec![1.75, 0.75],
        region: vec![],
        cubic: -0.75,
        exclude_outside: true,
        antialias: true,
        outside: 0.0,
    };
    let sample = GridSample {
        mode: Interpolation::Linear as i32,
        padding: SamplePadding::Reflection as i32,
        align_corners: false,
    };
    let regions =
        RoiAlign { max: false, height: 2, width: 1, samples: 2, scale: 0.75, half_pixel: true };
    let spectrum = Fourier { points: vec![6.into()], inverse: false, onesided: true };
    let (m, x) = ("places.m", "places.x");
    let nodes: [(&str, &[&str], Op, &[i64]); 11] = [
        ("gathered", &[m, "places.i"], Op::GatherElements(GatherElements { axis: 0 }), &[2, 4]),
        ("tuples", &[m, "places.nd"], Op::GatherNd(GatherNd { batch_axes: 0 }), &[2]),
        ("added", &[m, "places.i", "places.u"], Op::ScatterElements(scatter), &[3, 4]),
        (
            "written",
            &[m, "places.nd", "places.v"],
            Op::ScatterNd(ScatterNd { kind: ScatterKind::Max as i32 }),
            &[3, 4],
        ),
        ("totals", &[m], Op::Cumulative(sum), &[3, 4]),
        (
            "reversed",
            &[m, "places.lengths"],
            Op::ReverseSequence(ReverseSequence { time_axis: 1, batch_axis: 0 }),
            &[3, 4],
        ),
        ("folded", &[x], Op::Fold(fold), &[1, 1, 5, 6]),
        ("resized", &[x], Op::Resize(resize), &[1, 4, 5, 3]),
        ("sampled", &[x, "places.grid"], Op::GridSample(sample), &[1, 4, 2, 3]),
        ("aligned", &[x, "places.regions", "places.images"], Op::RoiAlign(regions), &[2, 4, 2, 1]),
        ("spectrum", &["places.signal"], Op::Fourier(spectrum), &[1, 4, 2]),
    ];
    let signal = Reshape { dims: Vec::from(sizes([1, 12, 1])) };
    b.node("signal", &[m], &["places.signal"], Op::Reshape(signal));
    for (name, inputs, op, dims) in nodes {
        b.node(name, inputs, &[name], op);
        let dims: Vec<Dim> = dims.iter().copied().map(Dim::from).collect();
        b.output(name, DataType::F32, &dims);
    }
}

/// A branch whose sizes depend on which is taken, and a loop that ends by itself.
fn control(b: &mut Builder) {
    b.input("go", DataType::Bool, &sizes([1]));
    b.multi_bit("branch.W", &[4, 4], coding(2, 4));
    let mut then = Builder::new();
    then.input("h", DataType::F32, &sizes([1, 4]));
    then.input("W", DataType::F32, &sizes([4, 4]));
    let linear = Op::Linear(Linear { activations: Activations::Int8 as i32 });
    then.node("product", &["h", "W"], &["y"], linear);
    then.output("y", DataType::F32, &sizes([1, 4]));
    let mut otherwise = Builder::new();
    otherwise.input("h", DataType::F32, &sizes([1, 4]));
    otherwise.input("W", DataType::F32, &sizes([4, 4]));
    otherwise.node("twice", &["h", "h"], &["y"], Op::Concat(Concat { axis: 0 }));
    otherwise.output("y", DataType::F32, &sizes([2, 4]));
    let rows = Dim::given("rows");
    let branch = Op::If(If { dims: vec![rows.clone(), 4.into()] });
    let bodies = vec![then.graph, otherwise.graph];
    b.node_with("branch", &["go", "means", "branch.W"], &["branched"], branch, bodies, &["rows"]);
    b.output("branched", DataType::F32, &[rows.clone(), 4.into()]);

    b.tensor("most", DataType::I64, &[], 5i64.to_le_bytes().to_vec());
    b.tensor("limit", DataType::F32, &[], 3f32.to_le_bytes().to_vec());
    let mut body = Builder::new();
    body.input("turn", DataType::I64, &[]);
    body.input("grown", DataType::F32, &[Dim::given("length")]);
    body.input("extent", DataType::F32, &sizes([1]));
    body.input("h", DataType::F32, &sizes([4]));
    body.input("limit", DataType::F32, &[]);
    body.node("next", &["grown", "extent"], &["grown.next"], Op::Concat(Concat { axis: 0 }));
    let affine = Unary { function: UnaryFunction::Affine as i32, alpha: 1.0, beta: 1.0 };
    body.node("more", &["extent"], &["extent.next"], Op::Unary(affine));
    let less = Binary { function: BinaryFunction::Less as i32 };
    body.node("less", &["extent.next", "limit"], &["on"], Op::Binary(less));
    let product = Binary { function: BinaryFunction::Mul as i32 };
    body.node("scaled", &["h", "extent"], &["part"], Op::Binary(product));
    body.output("on", DataType::Bool, &sizes([1]));
    body.output("grown.next", DataType::F32, &[named("length")]);
    body.output("extent.next", DataType::F32, &sizes([1]));
    body.output("part", DataType::F32, &sizes([4]));
    body.output("turn", DataType::I64, &[]);
    b.f32s("begin", &[1], [0.5]);
    b.node("flat", &["means"], &["flat"], Op::Reshape(Reshape { dims: vec![4.into()] }));
    let (length, turns) = (Dim::given("length"), Dim::given("turns"));
    let dims = vec![length.clone(), 1.into(), turns.clone(), 4.into(), Dim::given("turns")];
    let round = Loop { carried: 2, trips: vec![], dims, counted: true, conditional: true };
    b.node_with(
        "loop",
        &["most", "go", "flat", "begin", "flat", "limit"],
        &["grown", "extent", "parts", "turn"],
        Op::Loop(round),
        vec![body.graph],
        &["length", "turns"],
    );
    b.output("grown", DataType::F32, &[length]);
    b.output("parts", DataType::F32, &[turns.clone(), 4.into()]);
    b.output("turn", DataType::I64, &[turns]);
}

/// Sizes that are found when it runs.
fn found(b: &mut Builder) {
    let size = |name: &str| Dim::given(name);
    b.node_with(
        "places",
        &["flat"],
        &["found.places"],
        Op::NonZero(NonZero {}),
        vec![],
        &["chosen"],
    );
    b.output("found.places", DataType::I64, &[1.into(), size("chosen")]);
    b.node_with(
        "different",
        &["flat"],
        &["found.firsts", "", "found.times"],
        Op::Unique(Unique { unsorted: true }),
        vec![],
        &["different"],
    );
    b.output("found.firsts", DataType::I64, &[size("different")]);
    b.output("found.times", DataType::I64, &[size("different")]);
    b.f32s("found.step", &[], [0.5]);
    b.node_with(
        "series",
        &["found.step", "limit", "found.step"],
        &["found.numbers"],
        Op::Series(Series {}),
        vec![],
        &["numbers"],
    );
    b.output("found.numbers", DataType::F32, &[size("numbers")]);
    let numbers = [2i64, 3].iter().flat_map(|number| number.to_le_bytes()).collect();
    b.tensor("found.counts", DataType::I64, &[2], numbers);
    b.node_with(
        "counts",
        &["found.counts"],
        &["found.sizes"],
        Op::Sizes(Sizes {}),
        vec![],
        &["height", "across"],
    );
    let dims = vec![size("height"), size("across")];
    b.node("spread", &["limit"], &["found.spread"], Op::Expand(Expand { dims: dims.clone() }));
    b.output("found.spread", DataType::F32, &dims);
    b.f32s("found.boxes", &[1, 3, 4], [0., 0., 2., 2., 0., 0., 2., 1.75, 1., 1., 3., 3.]);
    b.f32s("found.scores", &[1, 1, 3], [0.5, 0.75, 0.25]);
    b.node_with(
        "boxes",
        &["found.boxes", "found.scores", "most", "found.step"],
        &["found.left"],
        Op::NonMaxSuppression(NonMaxSuppression { centered: false }),
        vec![],
        &["left"],
    );
    b.output("found.left", DataType::I64, &[size("left"), 3.into()]);
}
