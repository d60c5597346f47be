// RUN: qwench-opt %s --check-lowered --verify-diagnostics --split-input-file
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4" --qwen-kernels="cpu=znver4" --qwen-lower="cpu=znver4" | qwench-opt --check-lowered -o /dev/null

module {
  llvm.func @qwench_team_barrier(!llvm.ptr)
  llvm.func @powf(f32, f32) -> f32
  llvm.func @qwench_prefill(%step: !llvm.ptr) {
    %two = llvm.mlir.constant(2.0 : f32) : f32
    %p = llvm.call @powf(%two, %two) : (f32, f32) -> f32
    %s = llvm.intr.sin(%p) : (f32) -> f32
    llvm.call @qwench_team_barrier(%step) : (!llvm.ptr) -> ()
    llvm.return
  }
  llvm.func @qwench_decode(%step: !llvm.ptr) {
    llvm.return
  }
  llvm.mlir.global external constant @qwench_program(1 : i32) : i32
}

// -----

// expected-error @below {{expected a constant qwench_program in the lowered stage}}
module {
  // expected-error @below {{found a declaration of cblas_sgemm}}
  llvm.func @cblas_sgemm()
  // expected-error @below {{found a declaration of qwench_prefill}}
  llvm.func @qwench_prefill()
  llvm.func @qwench_decode(%f: !llvm.ptr) {
    llvm.call @cblas_sgemm() : () -> ()
    // expected-error @below {{expected a call of a named function in the lowered stage, found an indirect one}}
    llvm.call %f() : !llvm.ptr, () -> ()
    // expected-error @below {{expected no inline assembly in the lowered stage}}
    llvm.inline_asm "nop", "" : () -> ()
    // expected-error @below {{expected an op of the LLVM dialect in the lowered stage, found arith.constant}}
    %c = arith.constant 1 : index
    llvm.return
  }
}
