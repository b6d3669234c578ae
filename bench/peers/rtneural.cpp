// Times RTNeural on one step of an LSTM whose weights are random. Build it with RTNeural's folder and a backend:
//   c++ -O3 -march=native -std=c++17 -DRTNEURAL_USE_EIGEN=1 -DRTNEURAL_DEFAULT_ALIGNMENT=32 -I RTNEURAL \
//       -I EIGEN bench/peers/rtneural.cpp -o rtneural
// or, in place of Eigen, -DRTNEURAL_USE_XSIMD=1 -I XSIMD/include. It prints the least processor time of a step, over
// slices of a millisecond, in microseconds.
#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <random>
#include <vector>

static double now() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return 1e6 * time.tv_sec + 1e-3 * time.tv_nsec;
}

template <int Units>
static void measure() {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 1.0f / std::sqrt(float(Units)));
    auto matrix = [&](int rows, int columns) {
        std::vector<std::vector<float>> values(rows, std::vector<float>(columns));
        for (auto& row : values) std::generate(row.begin(), row.end(), [&] { return normal(random); });
        return values;
    };
    RTNeural::ModelT<float, Units, Units, RTNeural::LSTMLayerT<float, Units, Units>> model;
    auto& layer = model.template get<0>();
    layer.setWVals(matrix(Units, 4 * Units));
    layer.setUVals(matrix(Units, 4 * Units));
    layer.setBVals(matrix(1, 4 * Units)[0]);
    model.reset();
    alignas(64) float x[Units];
    std::generate(x, x + Units, [&] { return normal(random); });
    double least = 1e9, sum = 0;
    int steps = 1000;
    for (double end = now() + 1e6; now() < end;) {
        double begin = now();
        for (int i = 0; i < steps; i++) sum += model.forward(x);
        double taken = (now() - begin) / steps;
        least = std::min(least, taken);
        steps = std::max(1, int(1000 / taken));
    }
    std::printf("lstm%d %.3f us (%g)\n", Units, least, sum);
}

int main() {
    measure<16>();
    measure<32>();
    measure<64>();
}
