// Source: CUDA C++ Programming Guide 13.0, "Compute Capabilities", and the PTX ISA 9.0, "mma", "wgmma", "tcgen05".
#include "compiler/target/cuda/architectures.h"

namespace qwench::cuda {

using gpu::Architecture;
using gpu::Fp8;
using gpu::MatrixShape;
using enum gpu::MatrixUnit;

namespace {

constexpr int kStaticShared = 48 << 10, kRegisters = 255, kThreads = 1024;

constexpr MatrixShape kAmpere[] = {{"bf16", 16, 8, 16}, {"f16", 16, 8, 16}, {"i8", 16, 8, 32}};
constexpr MatrixShape kAda[] = {{"bf16", 16, 8, 16}, {"f16", 16, 8, 16}, {"i8", 16, 8, 32}, {"f8E4M3FN", 16, 8, 32}};
constexpr MatrixShape kHopper[] = {
    {"bf16", 64, 256, 16}, {"f16", 64, 256, 16}, {"i8", 64, 256, 32}, {"f8E4M3FN", 64, 256, 32}};
constexpr MatrixShape kBlackwell[] = {{"bf16", 128, 256, 16}, {"f16", 128, 256, 16}, {"i8", 128, 256, 32},
                                      {"f8E4M3FN", 128, 256, 32}, {"f4E2M1FN", 128, 256, 64}};

constexpr Architecture kTable[] = {
    // name, subgroup, shared, static, registers, threads, asyncCopy, tensorCopy, cluster, fp8, unit, shapes
    {"sm_80", 32, 163 << 10, kStaticShared, kRegisters, kThreads, true, false, false, Fp8::None, MmaSync, kAmpere},
    {"sm_86", 32, 99 << 10, kStaticShared, kRegisters, kThreads, true, false, false, Fp8::None, MmaSync, kAmpere},
    {"sm_89", 32, 99 << 10, kStaticShared, kRegisters, kThreads, true, false, false, Fp8::Ocp, MmaSync, kAda},
    {"sm_90a", 32, 227 << 10, kStaticShared, kRegisters, kThreads, true, true, true, Fp8::Ocp, MmaSync, kHopper},
    {"sm_100a", 32, 227 << 10, kStaticShared, kRegisters, kThreads, true, true, true, Fp8::Ocp, MmaSync, kBlackwell},
    {"sm_120", 32, 99 << 10, kStaticShared, kRegisters, kThreads, true, true, true, Fp8::Ocp, MmaSync, kAda},
};

} // namespace

llvm::ArrayRef<Architecture> architectures() { return kTable; }

llvm::StringRef baseName(llvm::StringRef name) { return name.rtrim("af"); }

} // namespace qwench::cuda
