// fuse-qkv: one projection for queries, keys and values.
//
// Does: finds the linear maps behind a cache write's key and value and behind the attention's query; if they
//   read the same input, replaces them by one linear map, whose weight has theirs as parts, and slices of its
//   columns.
// Assumes: value semantics; params of one index, as the import makes them.
// Guarantees: columns of the fused projection are q, then k, then v.
//
//   %q = qwen.linear(%h, %wq)
//   %k = qwen.linear(%h, %wk)
//   %v = qwen.linear(%h, %wv)
// =>
//   %qkv = qwen.linear(%h, %wqkv)       // @qkv_proj parts [@q_proj, @k_proj, @v_proj]
//   %q = tensor.extract_slice %qkv[0, 0] [%rows, Nq] [1, 1]
//   %k = tensor.extract_slice %qkv[0, Nq] [%rows, Nk] [1, 1]
//   %v = tensor.extract_slice %qkv[0, Nq + Nk] [%rows, Nv] [1, 1]
#include "passes/fuse/Fusion.h"
#include "passes/fuse/Heads.h"
#include "passes/fuse/WeightParts.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_FUSEQKV
#include "passes/Passes.h.inc"

namespace {

int64_t outputs(LinearOp linear) {
  return cast<RankedTensorType>(linear.getWeight().getType()).getDimSize(0);
}

/// Columns `offset .. offset + extent` of `source`; `rows` is its number of rows.
Value columns(PatternRewriter &rewriter, Location loc, Value source, OpFoldResult rows, int64_t offset,
              int64_t extent) {
  OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1);
  return tensor::ExtractSliceOp::create(rewriter, loc, withLastExtent(source.getType(), extent), source,
                                        {zero, rewriter.getIndexAttr(offset)},
                                        {rows, rewriter.getIndexAttr(extent)}, {one, one});
}

struct FuseProjections : OpRewritePattern<CacheWriteOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CacheWriteOp write, PatternRewriter &rewriter) const override {
    AttentionOp attention = attentionBehind(write);
    if (!attention)
      return rewriter.notifyMatchFailure(write, "no attention reads this layer behind the write");
    SmallVector<LinearOp, 3> linears;
    for (Value heads : {attention.getQuery(), write.getKey(), write.getValue()}) {
      auto linear = tensorProducer<LinearOp>(traceHeads(heads).projection);
      if (!linear)
        return rewriter.notifyMatchFailure(write, "query, key or value is not a projection");
      linears.push_back(linear);
    }
    LinearOp first = linears.front();
    for (LinearOp linear : linears) {
      if (linear.getInput() != linears.front().getInput())
        return rewriter.notifyMatchFailure(write, "the projections have different inputs");
      if (!linear.getBias() != !linears.front().getBias())
        return rewriter.notifyMatchFailure(write, "only some of the projections have a bias");
      if (linear->getBlock() != write->getBlock() || llvm::count(linears, linear) != 1)
        return rewriter.notifyMatchFailure(write, "the projections are not three of one block");
      if (linear->isBeforeInBlock(first))
        first = linear;
    }
    if (!isDefinedBefore(write.getBatch(), first))
      return rewriter.notifyMatchFailure(write, "the batch is not there before the projections");
    SmallVector<Value, 3> weights, biases;
    for (LinearOp linear : linears) {
      weights.push_back(linear.getWeight());
      if (linear.getBias())
        biases.push_back(linear.getBias());
    }
    if (StringRef reason = cannotConcatenate(weights); !reason.empty())
      return rewriter.notifyMatchFailure(write, reason);
    if (StringRef reason = biases.empty() ? "" : cannotConcatenate(biases); !reason.empty())
      return rewriter.notifyMatchFailure(write, reason);
    rewriter.setInsertionPoint(first);
    replace(rewriter, linears, weights, biases, write.getBatch());
    return success();
  }

  void replace(PatternRewriter &rewriter, ArrayRef<LinearOp> linears, ArrayRef<Value> weights,
               ArrayRef<Value> biases, Value batch) const {
    LinearOp query = linears.front();
    SmallVector<Location, 3> locs;
    for (LinearOp linear : linears)
      locs.push_back(linear.getLoc());
    Location loc = rewriter.getFusedLoc(locs);
    auto inputType = cast<RankedTensorType>(query.getInput().getType());
    Value weight = concatenate(rewriter, loc, weights, siblingName(weights.front(), "qkv_proj"));
    Value bias = biases.empty()
                     ? Value()
                     : concatenate(rewriter, loc, biases, siblingName(weights.front(), "qkv_proj_bias"));
    Type type = withLastExtent(query.getResultTypes().front(),
                               cast<RankedTensorType>(weight.getType()).getDimSize(0));
    Value qkv = LinearOp::create(rewriter, loc, TypeRange{type}, query.getInput(), weight, bias, ValueRange(),
                                 nullptr)
                    .getResults()
                    .front();
    OpFoldResult rows = rewriter.getIndexAttr(inputType.getDimSize(0));
    if (inputType.isDynamicDim(0))
      rows = BatchSizeOp::create(rewriter, loc, rewriter.getIndexType(), batch).getResult();
    int64_t offset = 0;
    for (LinearOp linear : linears) {
      Value slice = columns(rewriter, loc, qkv, rows, offset, outputs(linear));
      offset += outputs(linear);
      rewriter.replaceOp(linear, slice);
    }
  }
};

struct FuseQkv : impl::FuseQkvBase<FuseQkv> {
  void runOnOperation() override {
    if (failed(applyFusion<FuseProjections>(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace qwench
