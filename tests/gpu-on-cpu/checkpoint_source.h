// A checkpoint as packing asks for it.
#pragma once

#include "compiler/pack/pack.h"
#include "frontends/huggingface/checkpoint.h"

namespace qwench {

class CheckpointSource : public pack::TensorSource {
public:
  explicit CheckpointSource(hf::Checkpoint checkpoint) : checkpoint(std::move(checkpoint)) {}
  Result<hf::TensorView> find(std::string_view name) const override { return checkpoint.find(std::string(name)); }

private:
  hf::Checkpoint checkpoint;
};

} // namespace qwench
