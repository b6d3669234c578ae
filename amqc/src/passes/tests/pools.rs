//! Windows of three axes, against all their elements one by one.

use super::*;

/// An axis of the volume, and the windows over it.
struct Axis {
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
}

impl Axis {
    fn positions(&self) -> usize {
        let extent = (self.kernel - 1) * self.dilation + 1;
        (self.size + self.pads[0] + self.pads[1] - extent) / self.stride + 1
    }

    /// The entries that the window at a position meets.
    fn window(&self, position: usize) -> Vec<usize> {
        let taps = (0..self.kernel).map(|tap| position * self.stride + tap * self.dilation);
        taps.filter_map(|place| place.checked_sub(self.pads[0]))
            .filter(|&i| i < self.size)
            .collect()
    }
}

#[test]
fn the_largest_of_a_volume_comes_with_its_place() {
    let axes = [
        Axis { size: 5, kernel: 2, stride: 2, dilation: 2, pads: [1, 0] },
        Axis { size: 4, kernel: 3, stride: 1, dilation: 1, pads: [1, 1] },
        Axis { size: 6, kernel: 2, stride: 3, dilation: 1, pads: [0, 1] },
    ];
    let of = |get: fn(&Axis) -> usize| axes.each_ref().map(|axis| get(axis) as i64);
    let (kernel, strides) = (of(|axis| axis.kernel), of(|axis| axis.stride));
    let dilations = of(|axis| axis.dilation);
    let pads = [of(|axis| axis.pads[0]), of(|axis| axis.pads[1])].concat();
    let attributes = [
        ("kernel_shape", A::Is(&kernel)),
        ("strides", A::Is(&strides)),
        ("dilations", A::Is(&dilations)),
        ("pads", A::Is(&pads)),
    ];
    // Few different values, so that some windows have several largest ones: the first counts.
    let build = Build::new(13).input("x", "2 3 5 4 6").node("Round", "x", "r");
    let build = build.node_with("MaxPool", "r", "y i", &attributes);
    let build = build.node_with("Cast", "i", "j", &[("to", A::I(1))]).output("y").output("j");
    let dims = [2, 3, 5, 4, 6];
    let found = outputs(&passed(&build), &dims);

    let x: Vec<f32> =
        numbers(1, dims.iter().product()).iter().map(|x| x.round_ties_even()).collect();
    let (mut largest, mut places) = (Vec::new(), Vec::new());
    for plane in 0..2 * 3 {
        for d in 0..axes[0].positions() {
            for h in 0..axes[1].positions() {
                for w in 0..axes[2].positions() {
                    let mut best = (f32::NEG_INFINITY, 0);
                    for i in axes[0].window(d) {
                        for j in axes[1].window(h) {
                            for k in axes[2].window(w) {
                                let place = ((plane * 5 + i) * 4 + j) * 6 + k;
                                if x[place] > best.0 {
                                    best = (x[place], place);
                                }
                            }
                        }
                    }
                    largest.push(best.0);
                    places.push(best.1 as f32);
                }
            }
        }
    }
    assert_eq!(found, [largest, places]);
}
