// A stand-in for libcuda.so.1 (and, built with QWENCH_FAKE_ROCM, for libamdhip64.so): the functions of
// runtime/device/symbols.h over host memory. What a stream is given runs when somebody waits for it, so what needs waiting
// fails without; device memory cannot be touched but by copies and kernels. Every call of consequence is recorded.
//
// Set by environment variables, read when the driver is initialised:
//   QWENCH_FAKE_GPU_ARCHS   the GPUs: "sm_75,sm_90" (default sm_90, gfx942 for ROCm), or "none"
//   QWENCH_FAKE_GPU_MEMORY  bytes of each (default 1 GB)
//   QWENCH_FAKE_GPU_VERSION the driver's (default 13000 and 60300000)
//   QWENCH_FAKE_GPU_COOPERATIVE  0: GPUs that do not run all blocks of a kernel at once (default 1: 8 blocks)
//   QWENCH_FAKE_GPU_FAIL    "NAME[:N]": call N (from 1, default 1) of that function fails
//   QWENCH_FAKE_GPU_LOG     a file for the records, besides fake_gpu_log()
#pragma once

#include "runtime/abi/program.h"

extern "C" {

/// What block `tile` of a kernel of this name does, one after another; without one it does nothing.
typedef void (*FakeKernel)(const QwenchStep *step, int64_t layer, int64_t instance, int64_t tiles, int64_t tile);
__attribute__((visibility("default"))) void fake_gpu_kernel(const char *name, FakeKernel function);

/// Records since the last call, one line each: "launch NAME blocks=2 threads=128 shared=0 layer=0 instance=0 tiles=2",
/// "launch together NAME ...", "upload 136", "download 256", "fill 64", "capture", "graph". In the order of execution.
__attribute__((visibility("default"))) const char *fake_gpu_log();

/// Allocations of device and pinned memory, streams, events, graphs, modules and contexts that are not given back.
__attribute__((visibility("default"))) int fake_gpu_live();
}
