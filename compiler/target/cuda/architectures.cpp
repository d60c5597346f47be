// Source: CUDA C++ Programming Guide 13.0, "Compute Capabilities", and the PTX ISA 9.0, "mma", "ldmatrix", "cp.async", "wgmma",
// "griddepcontrol".
#include "compiler/target/cuda/architectures.h"

namespace qwench::cuda {

using gpu::Architecture;
using enum gpu::MatrixUnit;

namespace {

/// Most workgroup memory of a block. Above 48 KiB a launch asks for it (dynamic_memory.h).
constexpr int kShared80 = 163 << 10, kShared86 = 99 << 10, kShared90 = 227 << 10;

constexpr gpu::GridTraits kGrid = {"device", false, "r", true};

constexpr Architecture kTable[] = {
    {"sm_80", 32, MmaSync, false, true, false, kShared80, 8, kGrid},  {"sm_86", 32, MmaSync, false, true, false, kShared86, 8, kGrid},
    {"sm_89", 32, MmaSync, false, true, false, kShared86, 8, kGrid},  {"sm_90a", 32, MmaSync, true, true, true, kShared90, 8, kGrid},
    {"sm_100a", 32, MmaSync, false, true, true, kShared90, 8, kGrid}, {"sm_120", 32, MmaSync, false, true, true, kShared86, 8, kGrid},
};

} // namespace

llvm::ArrayRef<Architecture> architectures() { return kTable; }

llvm::StringRef baseName(llvm::StringRef name) { return name.rtrim("af"); }

} // namespace qwench::cuda
