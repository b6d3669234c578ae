/*
 * amq: runs .amq models.
 *
 * Models and sessions are numbers. What was freed, or never was, is AMQ_ERROR_HANDLE; a number is never
 * given twice. What you give by address is checked for null, alignment and sizes; what lies there is yours
 * to get right.
 *
 * Functions give AMQ_OK or a code, after which amq_error() says what was found. After an error the state
 * of a session is what it was.
 *
 * Threads: every function may be called by any thread at any time. Calls of one session wait for each
 * other; those of different sessions do not, also if they share a model. What an output points to changes
 * with the next call of its session: do not read it in one thread while another steps that session.
 *
 * The floating-point environment must be the default one (round to nearest, subnormal numbers kept).
 */
#ifndef AMQ_H
#define AMQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum amq_status {
    AMQ_OK = 0,
    AMQ_ERROR_ARGUMENT = 1, /* a null or misaligned address, a text that is not UTF-8, an index too large */
    AMQ_ERROR_HANDLE = 2,   /* no such model or session */
    AMQ_ERROR_IO = 3,       /* a file that cannot be read */
    AMQ_ERROR_FORMAT = 4,   /* bytes that are no valid .amq file */
    AMQ_ERROR_INPUT = 5,    /* an input is missing, unknown, given twice, or of another type or shape */
    AMQ_ERROR_STATE = 6,    /* state does not fit the call, saved state not the model; no outputs */
    AMQ_ERROR_NODE = 7,     /* a node cannot work on the data, such as an index out of range */
    AMQ_ERROR_MEMORY = 8,   /* more than 1 GiB for the values of a call, or more than there is */
    AMQ_ERROR_INTERNAL = 9  /* a fault of the library */
} amq_status;

/* Types of elements. */
typedef enum amq_type {
    AMQ_F32 = 0,
    AMQ_I64 = 1,
    AMQ_I32 = 2,
    AMQ_U8 = 3,
    AMQ_I8 = 4,
    AMQ_BOOL = 5, /* a byte that is 0 or 1 */
    AMQ_I16 = 6,
    AMQ_U16 = 7,
    AMQ_U32 = 8,
    AMQ_U64 = 9
} amq_type;

/* A loaded model. It never changes; any number of sessions share it. */
typedef struct amq_model {
    uint64_t id; /* 0 is none */
} amq_model;

/* One stream of calls, with its memory and its state. */
typedef struct amq_session {
    uint64_t id; /* 0 is none */
} amq_session;

/* An input or output of a model. Addresses are good until the model and all its sessions are freed. */
typedef struct amq_port {
    const char *name;     /* UTF-8 */
    uint32_t data_type;   /* an amq_type */
    size_t rank;          /* number of axes */
    const int64_t *sizes; /* rank sizes, outermost first; -1 where calls decide */
    const char *shape;    /* the same as text: [seq, batch, 2000]; a name is at least 1, and one number in a call */
    int64_t state;        /* of a state, the number of the output with the next value of this input, or of
                             the input that takes this output; -1 for what is no state */
} amq_port;

/* An input or output of a call. */
typedef struct amq_tensor {
    const char *name;    /* of the input or output, UTF-8 */
    uint32_t data_type;  /* an amq_type */
    size_t rank;         /* number of axes, 0 for a scalar */
    const size_t *shape; /* rank sizes, outermost first */
    const void *data;    /* elements in row-major order, at a multiple of their size */
    size_t bytes;        /* that they take, all together */
} amq_tensor;

/* What the last error of this thread was, or "". Good until the thread's next error. */
const char *amq_error(void);

/* Loads a model from a file's bytes, which may go afterwards, or from its path (UTF-8). Weights are packed for
 * this CPU. Bytes from anywhere may be loaded. After an error *model is 0, which is none. */
amq_status amq_model_load(const void *bytes, size_t size, amq_model *model);
amq_status amq_model_open(const char *path, amq_model *model);

/* Frees a model. Sessions of it go on. */
amq_status amq_model_free(amq_model model);

/* How many inputs and outputs a model has, states among them; and what they are, by number from 0. */
amq_status amq_model_counts(amq_model model, size_t *inputs, size_t *outputs);
amq_status amq_model_input(amq_model model, size_t index, amq_port *port);
amq_status amq_model_output(amq_model model, size_t index, amq_port *port);

/* A session without state. After an error *session is 0, which is none. */
amq_status amq_session_new(amq_model model, amq_session *session);
amq_status amq_session_free(amq_session session);

/* Computes all outputs. `run` is a call of its own: states are inputs, initial where they are absent, and
 * outputs. `step` takes the inputs that are no states; states come from the step before, or are initial in the
 * first, and go to the next. The first call with a set of input shapes takes memory; later ones allocate
 * nothing, as long as it is among the last four sets. Inputs are read, and need not outlive the call. */
amq_status amq_session_run(amq_session session, const amq_tensor *inputs, size_t count);
amq_status amq_session_step(amq_session session, const amq_tensor *inputs, size_t count);

/* An output of the last call, by number. Its addresses are good until the session runs, steps or is freed. */
amq_status amq_session_output(amq_session session, size_t index, amq_tensor *output);

/* Forgets the state: the next step starts from the initial one, with another batch size if need be. */
amq_status amq_session_reset(amq_session session);

/* The state as bytes, the same on every machine. *size says how much room there is at `buffer`, and is set to what
 * the state takes; with a null buffer nothing else happens. `restore` continues from it, in any session of
 * the same file. */
amq_status amq_session_save(amq_session session, void *buffer, size_t *size);
amq_status amq_session_restore(amq_session session, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif

#endif
