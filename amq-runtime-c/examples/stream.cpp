// The program of stream.c in C++: a model and a session that free themselves, and exceptions.
//
//     c++ -std=c++17 -o stream stream.cpp $(pkg-config --cflags --libs amq)
//     ./stream model.amq 17 4 256
#include <amq.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(amq_status status) {
    if (status != AMQ_OK) throw std::runtime_error(amq_error());
}

struct Model {
    explicit Model(const std::string &path) { check(amq_model_open(path.c_str(), &handle)); }
    ~Model() { amq_model_free(handle); }
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;
    amq_model handle{};
};

struct Session {
    explicit Session(const Model &model) { check(amq_session_new(model.handle, &handle)); }
    ~Session() { amq_session_free(handle); }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    /// An output of a step; what it points to is good until the next.
    amq_tensor step(const amq_tensor &input, std::size_t output) {
        check(amq_session_step(handle, &input, 1));
        amq_tensor result;
        check(amq_session_output(handle, output, &result));
        return result;
    }
    amq_session handle{};
};

/// The number of the first port that is no state.
template <typename Describe>
std::size_t first(const Model &model, Describe describe, amq_port &port) {
    for (std::size_t number = 0;; number++) {
        check(describe(model.handle, number, &port));
        if (port.state < 0) return number;
    }
}

void run(const std::string &path, const std::vector<std::int64_t> &list) {
    Model model(path);
    amq_port tokens, scores;
    first(model, amq_model_input, tokens);
    const std::size_t output = first(model, amq_model_output, scores);
    if (scores.data_type != AMQ_F32) throw std::runtime_error(path + " is no language model");

    Session session(model);
    const std::vector<std::size_t> shape(tokens.rank, 1);
    std::uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const std::int64_t token : list) {
        const amq_tensor result = session.step(
            {tokens.name, AMQ_I64, shape.size(), shape.data(), &token, sizeof token}, output);
        const auto *begin = static_cast<const float *>(result.data);
        const auto *end = begin + result.bytes / sizeof(float);
        std::printf("%" PRId64 " -> %td\n", token, std::max_element(begin, end) - begin);
        for (const float *score = begin; score != end; ++score) {
            std::uint32_t bits;
            std::memcpy(&bits, score, sizeof bits);
            for (int shift = 0; shift < 32; shift += 8)
                hash = (hash ^ (bits >> shift & 0xff)) * UINT64_C(0x100000001b3);
        }
    }
    std::printf("digest %016" PRIx64 "\n", hash);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: stream MODEL.amq TOKEN...\n");
        return 2;
    }
    try {
        std::vector<std::int64_t> tokens;
        for (int i = 2; i < argc; i++) tokens.push_back(std::stoll(argv[i]));
        run(argv[1], tokens);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "stream: %s\n", error.what());
        return 1;
    }
    return 0;
}
