// Entry points with the C signature of QwenchStepFunction, and the constant that describes the program.
// RUN: qwench-opt %S/../../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4 max-context=777" --qwen-kernels="cpu=znver4" --qwen-lower="cpu=znver4" > %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: FileCheck %s --check-prefix=NONE < %t.mlir

// Nothing of the dialect is left, and all but the entry points is internal.
// NONE-NOT: {{[ !#"(]}}qwen.
// NONE-NOT: unrealized_conversion_cast
// NONE-NOT: llvm.func @{{(moe|prefill|decode|micro)}}

// CHECK-DAG: llvm.mlir.global private constant @qwench_text.{{.*}}"model\00"
// CHECK-DAG: llvm.mlir.global external constant @qwench_program()
// CHECK-DAG: llvm.mlir.addressof @qwench_step_prefill
// CHECK-DAG: llvm.mlir.addressof @qwench_step_decode
// CHECK-DAG: llvm.mlir.constant(777 : i64)
// CHECK-DAG: llvm.mlir.constant(300160 : i64)
// CHECK-DAG: llvm.func @qwench_team_barrier(!llvm.ptr)
// CHECK-DAG: llvm.func internal @prefill(
// CHECK-DAG: llvm.func @qwench_step_prefill(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
// CHECK-DAG: llvm.func @qwench_step_decode(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
