/*
 * Feeds tokens to a language model one by one and prints the most likely next token of each step, then a
 * digest of all scores: FNV-1a, 64 bits, of their bytes, the lowest of each first.
 *
 *     cc -o stream stream.c $(pkg-config --cflags --libs amq)
 *     ./stream model.amq 17 4 256
 */
#include <amq.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(amq_status status) {
    if (status != AMQ_OK) {
        fprintf(stderr, "stream: %s\n", amq_error());
        exit(1);
    }
}

static uint64_t digest(uint64_t hash, const float *scores, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &scores[i], sizeof bits);
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (bits >> shift & 0xff)) * UINT64_C(0x100000001b3);
    }
    return hash;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: stream MODEL.amq TOKEN...\n");
        return 2;
    }
    amq_model model;
    check(amq_model_open(argv[1], &model));

    /* The one input that is no state takes the tokens, the one output that is no state gives scores. */
    size_t inputs, outputs, in = 0, out = 0;
    amq_port tokens, scores;
    check(amq_model_counts(model, &inputs, &outputs));
    do
        check(amq_model_input(model, in++, &tokens));
    while (tokens.state >= 0);
    do
        check(amq_model_output(model, out++, &scores));
    while (scores.state >= 0);
    if (scores.data_type != AMQ_F32 || tokens.rank > 8) {
        fprintf(stderr, "stream: %s is no language model\n", argv[1]);
        return 1;
    }

    /* One stream, one token at a time: its state stays in the session. */
    amq_session session;
    check(amq_session_new(model, &session));
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 2; i < argc; i++) {
        int64_t token = strtoll(argv[i], NULL, 10);
        size_t ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
        amq_tensor input = {tokens.name, AMQ_I64, tokens.rank, ones, &token, sizeof token};
        check(amq_session_step(session, &input, 1));

        amq_tensor output;
        check(amq_session_output(session, out - 1, &output));
        const float *values = output.data;
        size_t count = output.bytes / sizeof *values, best = 0;
        for (size_t j = 1; j < count; j++)
            if (values[j] > values[best]) best = j;
        printf("%" PRId64 " -> %zu\n", token, best);
        hash = digest(hash, values, count);
    }
    printf("digest %016" PRIx64 "\n", hash);
    check(amq_session_free(session));
    check(amq_model_free(model));
    return 0;
}
