/* Qwench's C interface to a compiled model: `qwench compile --emit=shared` makes a shared object with these functions,
 * `--emit=obj` an object that links with libqwench_runtime.a into a program that calls them.
 *
 *   QwenchOptions options = QWENCH_OPTIONS_INIT;
 *   QwenchSession *session;
 *   if (qwench_open(&options, &session)) { fputs(qwench_last_error(), stderr); return 1; }
 *   qwench_prefill(session, 0, ids, count);
 *   int32_t next;
 *   QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
 *   while (!qwench_sample(session, 0, &greedy, &next) && next != eos)
 *     qwench_decode(session, 0, next);
 *   qwench_close(session);
 *
 * qwench_generate() is that loop, of several sequences, and on a GPU without its waits.
 *
 * A session is used by one thread at a time. Functions return 0, or QWENCH_ERROR_* with the reason in
 * qwench_last_error() of the calling thread; after an error the session stays usable and its sequences are as before. */
#ifndef QWENCH_RUNTIME_ABI_QWENCH_H
#define QWENCH_RUNTIME_ABI_QWENCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QWENCH_API_VERSION 1
#ifndef QWENCH_API
#define QWENCH_API __attribute__((visibility("default")))
#endif

enum {
  QWENCH_OK = 0,
  QWENCH_ERROR_ARGUMENT = 1, /* a value outside its range; nothing was done */
  QWENCH_ERROR_CONTEXT = 2,  /* more tokens than the sequence's context holds */
  QWENCH_ERROR_SYSTEM = 3,   /* memory, files, threads */
  QWENCH_ERROR_MODEL = 4     /* the file is damaged or does not fit this program, ABI or CPU */
};

typedef struct QwenchSession QwenchSession;

typedef struct QwenchOptions {
  uint32_t api_version;  /* QWENCH_API_VERSION */
  int32_t threads;       /* 0: one for each core of the process's affinity mask */
  int64_t context;       /* positions per sequence; 0: the program's max_context */
  int32_t sequences;     /* KV cache slots, >= 1 */
  const char *bundle;    /* file with the weights; NULL: the file this code was loaded from */
} QwenchOptions;
#define QWENCH_OPTIONS_INIT {QWENCH_API_VERSION, 0, 0, 1, NULL}

/* How the next token is drawn, in this order: temperature, top-k, top-p, min-p. */
typedef struct QwenchSampling {
  float temperature; /* 0: the likeliest token (lowest id among equals) */
  int32_t top_k;     /* 0: all */
  float top_p;       /* 1: all */
  float min_p;       /* 0: all; relative to the likeliest token */
  uint64_t seed;     /* of the sequence's generator; used at the first draw after a reset */
} QwenchSampling;
#define QWENCH_SAMPLING_GREEDY {0.0f, 0, 1.0f, 0.0f, 0}

typedef struct QwenchModelInfo {
  int64_t vocab_size, max_context, layers, weight_bytes, cache_bytes_per_position;
  int32_t threads;
} QwenchModelInfo;

/* Opens the compiled model: checks ABI, plan hash and CPU features, maps the weights, starts the threads. */
QWENCH_API int qwench_open(const QwenchOptions *options, QwenchSession **session);
QWENCH_API void qwench_close(QwenchSession *session); /* NULL is fine */
QWENCH_API int qwench_info(const QwenchSession *session, QwenchModelInfo *info);

/* Appends count (>= 1) token ids to a sequence, computing logits of the last one. */
QWENCH_API int qwench_prefill(QwenchSession *session, int32_t sequence, const int32_t *tokens, int64_t count);
/* The same, and writes the logits of all count positions to out: float32 [count, vocab_size]. */
QWENCH_API int qwench_prefill_logits(QwenchSession *session, int32_t sequence, const int32_t *tokens, int64_t count,
                                     float *out);
/* Appends one token to a sequence. */
QWENCH_API int qwench_decode(QwenchSession *session, int32_t sequence, int32_t token);
/* Appends one token to each of count different sequences, in one step. On a GPU both return while the step may still run; what
 * fails there is an error of the next call that needs its result. */
QWENCH_API int qwench_decode_batch(QwenchSession *session, const int32_t *sequences, const int32_t *tokens,
                                   int64_t count);
/* Logits of a sequence's last token: float32 [vocab_size], valid until the next call with this session. */
QWENCH_API int qwench_logits(QwenchSession *session, int32_t sequence, const float **logits);
/* Draws a token from the logits of a sequence's last token; does not append it. */
QWENCH_API int qwench_sample(QwenchSession *session, int32_t sequence, const QwenchSampling *sampling, int32_t *token);
/* Takes a token as it is drawn; returns whether (1 or 0) its sequence goes on. Must not call functions of the session. */
typedef int (*QwenchTokenSink)(void *user, int32_t sequence, int32_t token);
/* Draws a token of each of count different sequences and appends it, again and again, until most (>= 1; 0: no limit) are drawn of
 * each, its context is full or the sink says 0. What is drawn last of a sequence is not appended, and its logits are gone. On a GPU
 * the tokens go from step to step there: the next step begins before the sink sees them. `user` is the sink's. */
QWENCH_API int qwench_generate(QwenchSession *session, const int32_t *sequences, int64_t count, const QwenchSampling *sampling,
                               int64_t most, QwenchTokenSink sink, void *user);
/* Tokens the sequence holds. */
QWENCH_API int qwench_length(const QwenchSession *session, int32_t sequence, int64_t *length);
/* Cuts a sequence to its first length tokens (0 empties it); its logits are gone until the next prefill or decode. */
QWENCH_API int qwench_truncate(QwenchSession *session, int32_t sequence, int64_t length);

/* The calling thread's last error, one line; "" if none. */
QWENCH_API const char *qwench_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
