/* The contract between emitted code and the runtime that drives it.
 *
 * A compiled model's object file exports one constant, `qwench_program`. The runtime reads it, prepares memory, and
 * calls `prefill` or `decode` from every thread of its team at once; the threads share out the tiles of each launch by
 * qwench_team_share() and qwench_team_take(), and meet at qwench_team_barrier(). With a device, the runtime calls them
 * once and they enqueue launches with qwench_device_launch().
 * All model mathematics lies behind those functions. The structs only ever grow at the end, and every change of
 * meaning raises QWENCH_ABI_VERSION. */
#ifndef QWENCH_RUNTIME_ABI_PROGRAM_H
#define QWENCH_RUNTIME_ABI_PROGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QWENCH_ABI_VERSION 6

struct QwenchTeam; /* the runtime's own */

/* A token to be drawn from a row of logits; qwen.sample (dialects/QwenOps.td) says how. All members are doubles, so that
 * emitted code reads them alike. */
typedef struct QwenchDraw {
  double row;         /* of the step's logits */
  double candidates;  /* ids below it may be drawn, 1 .. vocab_size */
  double uniform;     /* in [0, 1): which of them */
  double temperature; /* this and what follows as in QwenchSampling */
  double top_k;
  double top_p;
  double min_p;
} QwenchDraw;

/* One step: `rows` tokens go through the model, each a row of its own. A row is a token at a position of a sequence;
 * a sequence lives in a slot of the KV cache. Rows of one sequence stand in ascending, consecutive positions, and every
 * earlier position of the sequence has been through a step before. Prefill and decode differ in nothing else. */
typedef struct QwenchStep {
  const int32_t *tokens;          /* [rows] token ids, 0 <= id < vocab_size */
  const int32_t *positions;       /* [rows] position of the token in its sequence, < cache_capacity */
  const int32_t *slots;           /* [rows] cache slot of the sequence */
  const int32_t *context_lengths; /* [rows] tokens known of the sequence when the step's prompt was given: what dynamic
                                     and longrope scaling look at (transformers' sequence length) */
  const int32_t *output_rows;     /* [outputs] rows whose logits are wanted */
  int64_t rows;                   /* 1 .. prefill_rows (or decode_rows) */
  int64_t outputs;                /* 0 .. rows */
  int64_t cache_capacity;         /* positions each slot holds, a multiple of cache_granule */
  uint8_t *arena;                 /* arena_bytes + threads * thread_scratch_bytes, 64-byte aligned */
  const uint8_t *weights;         /* weight_bytes, 64-byte aligned */
  uint8_t *cache;                 /* slots * cache_capacity * cache_bytes_per_position, 64-byte aligned, zero at first */
  float *logits;                  /* [outputs, logits_stride] result, 64-byte aligned */
  struct QwenchTeam *team;        /* for the qwench_team functions */
  const QwenchDraw *draws;        /* [rows]; `sample` reads only this, rows and logits */
  int32_t *drawn;                 /* [rows] result of `sample`: token ids, -1 where every logit is NaN or -infinity */
} QwenchStep;

/* Every thread of the team calls this with the same step; thread = 0 .. threads - 1. Returns after the last barrier.
 * With a device it is called once, as thread 0 of 1, and returns when all launches are enqueued; of the step it then reads
 * only rows, outputs, cache_capacity and team. */
typedef void (*QwenchStepFunction)(const QwenchStep *step, int64_t thread, int64_t threads);

/* A kernel of a device program. Its entry takes (const QwenchStep *step, int64_t layer, int64_t instance, int64_t tiles);
 * `step` and every pointer in it are device memory; `team` is a 32-bit counter, 0 when the step begins, at which the blocks of
 * a cooperative kernel meet. Blocks stand along x; a block runs the tiles blockIdx.x, blockIdx.x + gridDim.x, ... below
 * `tiles`. A cooperative kernel counts tiles itself, of several launches in one: its blocks must all run at once, and as many
 * are launched as do. A dependent kernel may begin while launches before it still run: it waits for them itself. */
typedef struct QwenchKernel {
  const char *name;      /* of the entry in the image */
  uint32_t threads;      /* of a block, along x */
  uint32_t shared_bytes; /* dynamic shared memory of a block; 0 when all of it is static */
  uint32_t cooperative;  /* 0 or 1 */
  uint32_t dependent;    /* 0 or 1 */
} QwenchKernel;

typedef enum QwenchImageKind {
  QWENCH_IMAGE_CUBIN = 1, /* NVIDIA machine code */
  QWENCH_IMAGE_PTX = 2,   /* NVIDIA assembly, NUL-terminated, for the driver's compiler */
  QWENCH_IMAGE_HSACO = 3  /* AMD code object */
} QwenchImageKind;

/* The device code for one architecture. */
typedef struct QwenchImage {
  const char *arch;            /* "sm_90a", "gfx942" */
  uint32_t kind;               /* QwenchImageKind */
  uint32_t reserved;           /* 0 */
  const uint8_t *bytes;        /* 16-byte aligned */
  uint64_t size;               /* > 0; of PTX with the NUL */
  const QwenchKernel *kernels; /* [kernel_count] as this image has them: block sizes may differ between architectures */
} QwenchImage;

/* What runs on a GPU. The images hold the same kernels, numbered alike. */
typedef struct QwenchDeviceProgram {
  const char *api; /* "cuda" or "rocm" */
  int64_t kernel_count;
  const QwenchImage *images; /* [image_count], of one architecture in the order of preference */
  int64_t image_count;
} QwenchDeviceProgram;

typedef struct QwenchProgram {
  uint32_t abi_version;  /* QWENCH_ABI_VERSION of the compiler */
  uint32_t struct_bytes; /* sizeof(QwenchProgram) of the compiler */
  uint64_t plan_hash;    /* of the planned IR; the weight section carries the same */
  const char *name;      /* model name */
  const char *target;    /* "x86-64" */
  const char *cpu;       /* as given to the code generator: "znver4" */
  const char *features;  /* CPU features the code needs, comma separated, LLVM's names: "avx512f,avx512bf16" */
  const char *dtype;     /* weight format: "bf16", "f32" */
  const char *kv_dtype;  /* cache format */
  int64_t vocab_size;    /* logits per row; ids run below it */
  int64_t logits_stride; /* floats from one row of logits to the next, >= vocab_size */
  int64_t max_context;   /* positions the program was compiled for */
  int64_t layers;
  int64_t prefill_rows;             /* most rows of one prefill step */
  int64_t decode_rows;              /* most rows of one decode step */
  int64_t arena_bytes;              /* activations, for either entry */
  int64_t thread_scratch_bytes;     /* per thread, after the arena */
  int64_t weight_bytes;             /* of the weight section */
  int64_t weight_bytes_per_token;   /* what a decode step with one row reads of them */
  int64_t cache_bytes_per_position; /* all layers, keys and values, one slot */
  int64_t cache_granule;            /* cache_capacity must be a multiple */
  int64_t flops_per_token;          /* layer weights only: 2 x active weights, without the LM head */
  int64_t flops_per_output;         /* LM head */
  int64_t attention_flops_per_pair; /* all layers: x (query, key) pairs attended */
  QwenchStepFunction prefill;
  QwenchStepFunction decode;
  const QwenchDeviceProgram *device; /* NULL: the CPU runs it */
  QwenchStepFunction sample; /* draws tokens where the logits are; NULL: the runtime does, from logits in its own memory */
} QwenchProgram;

extern const QwenchProgram qwench_program;

/* Runtime functions that emitted code may call, besides libm's: the whole list. */

/* A launch's tiles 0 .. tiles - 1 (tiles < 2^31) among the threads of a team: each calls qwench_team_share with the same
 * `tiles`, works on the tile that it returns, and on those of qwench_team_take until that is -1. A thread gets consecutive
 * tiles in ascending order, so that it reads its weights as one stream; when those are done, the last ones of other threads.
 * Every tile goes to one thread. */
int64_t qwench_team_share(struct QwenchTeam *team, int64_t thread, int64_t tiles);
int64_t qwench_team_take(struct QwenchTeam *team, int64_t thread);

/* Waits until every thread of the team has arrived. What they wrote before is visible to all after. */
void qwench_team_barrier(struct QwenchTeam *team);

/* With a device: enqueues kernel number `kernel` on `tiles` tiles (none: nothing happens; a cooperative one takes any other
 * number for all it has). All tiles of earlier launches are done before it begins, or
 * before it reads and writes what they do, if it is a dependent one. A failure is reported by the runtime
 * after the step. */
void qwench_device_launch(struct QwenchTeam *team, int64_t kernel, int64_t tiles, int64_t layer, int64_t instance);

#ifdef __cplusplus
}
#endif
#endif
