/*
 * Calls with arguments that cannot be: each gives its code and a text, and harms nothing.
 *
 *     arguments MODEL.amq
 *
 * The model is the shipped language model: tokens, h0 and c0 in; logits, hn and cn out.
 */
#include <amq.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0, checks = 0;

static void expect(int line, amq_status found, amq_status expected, const char *text) {
    checks++;
    if (found != expected || (text && !strstr(amq_error(), text))) {
        failures++;
        fprintf(stderr, "line %d: code %d for %d, text: %s\n", line, found, expected, amq_error());
    }
}
#define OK(call) expect(__LINE__, call, AMQ_OK, NULL)
#define FAILS(call, code, text) expect(__LINE__, call, AMQ_ERROR_##code, text)

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = malloc(1 << 20);
    if (!file || !bytes) exit(2);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    size_t size;
    unsigned char *bytes = read_file(argv[1], &size);
    amq_model model, other;
    amq_session session, second;
    amq_port port;
    amq_tensor output;
    size_t inputs, outputs;

    if (strcmp(amq_error(), "") != 0) failures++;

    /* Loading. */
    FAILS(amq_model_load(NULL, size, &other), ARGUMENT, "the address of the bytes is null");
    FAILS(amq_model_load(bytes, size, NULL), ARGUMENT, "the address of the model is null");
    FAILS(amq_model_load(bytes, SIZE_MAX, &other), ARGUMENT, "larger than memory");
    FAILS(amq_model_load(bytes, 0, &other), FORMAT, NULL);
    FAILS(amq_model_load(NULL, 0, &other), FORMAT, NULL);
    for (size_t cut = 1; cut < size; cut += 1 + cut / 3) {
        /* Of exactly this size, so that a checker sees what is read beyond. */
        unsigned char *part = malloc(cut);
        memcpy(part, bytes, cut);
        FAILS(amq_model_load(part, cut, &other), FORMAT, NULL);
        free(part);
    }
    bytes[size / 2] ^= 1;
    FAILS(amq_model_load(bytes, size, &other), FORMAT, NULL);
    bytes[size / 2] ^= 1;
    FAILS(amq_model_open(NULL, &other), ARGUMENT, "the path is null");
    FAILS(amq_model_open("\xff", &other), ARGUMENT, "not UTF-8");
    FAILS(amq_model_open("there/is/no/such/file", &other), IO, "there/is/no/such/file");
    if (other.id != 0) failures++;
    OK(amq_model_load(bytes, size, &model));
    OK(amq_model_open(argv[1], &other));

    /* Describing. */
    FAILS(amq_model_counts(model, NULL, &outputs), ARGUMENT, "null");
    FAILS(amq_model_counts(model, &inputs, NULL), ARGUMENT, "null");
    FAILS(amq_model_counts((amq_model){0}, &inputs, &outputs), HANDLE, "there is no model 0");
    OK(amq_model_counts(model, &inputs, &outputs));
    if (inputs != 3 || outputs != 3) failures++;
    FAILS(amq_model_input(model, 3, &port), ARGUMENT, "no input 3: the model has 3");
    FAILS(amq_model_output(model, SIZE_MAX, &port), ARGUMENT, "no output");
    FAILS(amq_model_input(model, 0, NULL), ARGUMENT, "null");
    FAILS(amq_model_output(model, 0, NULL), ARGUMENT, "null");
    OK(amq_model_input(model, 1, &port));
    if (strcmp(port.name, "h0") || strcmp(port.shape, "[1, batch, 128]") || port.state != 1) failures++;
    if (port.rank != 3 || port.sizes[0] != 1 || port.sizes[1] != -1 || port.data_type != AMQ_F32) failures++;

    /* Sessions. */
    FAILS(amq_session_new(model, NULL), ARGUMENT, "null");
    FAILS(amq_session_new((amq_model){12345}, &session), HANDLE, "there is no model 12345");
    OK(amq_session_new(model, &session));
    FAILS(amq_session_output(session, 0, &output), STATE, "no outputs");
    FAILS(amq_session_new((amq_model){session.id}, &second), HANDLE, NULL);
    FAILS(amq_session_reset((amq_session){model.id}), HANDLE, NULL);

    /* Inputs. */
    int64_t tokens[2] = {1, 2};
    float state[128] = {0};
    size_t shape[2] = {1, 1}, state_shape[3] = {1, 1, 128};
    size_t large[2] = {SIZE_MAX, SIZE_MAX}, two[2] = {2, 1};
    const amq_tensor good = {"tokens", AMQ_I64, 2, shape, tokens, 8};
    amq_tensor bad[2] = {good, good};
#define STEP_FAILS(field, value, code, text) \
    do { \
        bad[0] = good; \
        bad[0].field = value; \
        FAILS(amq_session_step(session, bad, 1), code, text); \
        FAILS(amq_session_run(session, bad, 1), code, text); \
    } while (0)
    STEP_FAILS(name, NULL, ARGUMENT, "the name of an input is null");
    STEP_FAILS(name, "\xc3(", ARGUMENT, "not UTF-8");
    STEP_FAILS(name, "token", INPUT, "there is no input token");
    STEP_FAILS(data_type, AMQ_F32, INPUT, "is f32, it must be i64");
    STEP_FAILS(data_type, 10, ARGUMENT, "unknown type 10");
    STEP_FAILS(data_type, UINT32_MAX, ARGUMENT, "unknown type");
    STEP_FAILS(rank, 1, INPUT, "tokens has shape [1], the model takes [seq, batch]");
    STEP_FAILS(rank, SIZE_MAX, ARGUMENT, "larger than memory");
    STEP_FAILS(shape, NULL, ARGUMENT, "a shape is null");
    STEP_FAILS(shape, (size_t *)((char *)shape + 1), ARGUMENT, "multiple of");
    STEP_FAILS(shape, large, INPUT, "are not shape");
    STEP_FAILS(shape, two, INPUT, "1 elements, which are not shape");
    STEP_FAILS(data, NULL, ARGUMENT, "null");
    STEP_FAILS(data, (char *)tokens + 4, ARGUMENT, "multiple of 8 bytes");
    STEP_FAILS(bytes, 0, INPUT, "0 elements");
    STEP_FAILS(bytes, 7, ARGUMENT, "7 bytes");
    STEP_FAILS(bytes, 16, INPUT, "2 elements");
    STEP_FAILS(bytes, SIZE_MAX - 7, ARGUMENT, "larger than memory");
    tokens[1] = 2000;
    STEP_FAILS(data, tokens + 1, NODE, "2000");
    bad[0] = bad[1] = good;
    FAILS(amq_session_step(session, bad, 2), INPUT, "given twice");
    FAILS(amq_session_step(session, bad, 0), INPUT, "tokens");
    FAILS(amq_session_step(session, NULL, 1), ARGUMENT, "null");
    FAILS(amq_session_step(session, NULL, SIZE_MAX), ARGUMENT, NULL);
    bad[1] = (amq_tensor){"h0", AMQ_F32, 3, state_shape, state, sizeof state};
    FAILS(amq_session_step(session, bad, 2), STATE, "steps take it from the session");
    OK(amq_session_run(session, bad, 2));
    FAILS(amq_session_output(session, 3, &output), ARGUMENT, "no output 3");
    FAILS(amq_session_output(session, 0, NULL), ARGUMENT, "null");
    OK(amq_session_step(session, &good, 1));
    OK(amq_session_output(session, 0, &output));
    if (output.bytes != 2000 * sizeof(float) || strcmp(output.name, "logits")) failures++;
    size_t batch[2] = {1, 2};
    bad[0] = (amq_tensor){"tokens", AMQ_I64, 2, batch, tokens, 16};
    tokens[1] = 2;
    FAILS(amq_session_step(session, bad, 1), STATE, "reset the session");
    FAILS(amq_session_output(session, 0, &output), STATE, "failed at it");

    /* Saved state. */
    size_t needed = 0, less;
    FAILS(amq_session_save(session, NULL, NULL), ARGUMENT, "null");
    OK(amq_session_save(session, NULL, &needed));
    unsigned char *saved = malloc(needed);
    less = needed - 1;
    FAILS(amq_session_save(session, saved, &less), ARGUMENT, "there is room for");
    if (less != needed) failures++;
    OK(amq_session_save(session, saved, &needed));
    FAILS(amq_session_restore(session, NULL, needed), ARGUMENT, "null");
    for (size_t cut = 0; cut < needed; cut += 1 + cut / 4)
        FAILS(amq_session_restore(session, saved, cut), STATE, "damaged");
    OK(amq_session_restore(session, saved, needed));
    OK(amq_session_reset(session));
    OK(amq_session_step(session, bad, 1));
    free(saved);

    /* What was freed. A session outlives its model's number. */
    OK(amq_model_free(model));
    FAILS(amq_model_free(model), HANDLE, "it was freed");
    FAILS(amq_model_counts(model, &inputs, &outputs), HANDLE, "it was freed");
    FAILS(amq_session_new(model, &second), HANDLE, "it was freed");
    OK(amq_session_reset(session));
    OK(amq_session_step(session, &good, 1));
    OK(amq_session_free(session));
    FAILS(amq_session_free(session), HANDLE, "it was freed");
    FAILS(amq_session_step(session, &good, 1), HANDLE, "it was freed");
    FAILS(amq_session_run(session, &good, 1), HANDLE, "it was freed");
    FAILS(amq_session_output(session, 0, &output), HANDLE, "it was freed");
    FAILS(amq_session_save(session, NULL, &needed), HANDLE, "it was freed");
    FAILS(amq_session_restore(session, bytes, 8), HANDLE, "it was freed");
    FAILS(amq_session_reset(session), HANDLE, "it was freed");
    OK(amq_model_free(other));
    free(bytes);

    printf("%d checks, %d failures\n", checks, failures);
    return failures != 0;
}
