#include "server/video/block_records.h"

#include <utility>

namespace longtake::server {

void BlockRecords::SetPrompt(int prompt) {
  const MutexLock lock(mutex_);
  prompt_ = prompt;
}

void BlockRecords::Add(const scheduler::PassReport& pass, const BlockForm& form) {
  const absl::Duration took = absl::Seconds(pass.device_seconds), ended = pass.ended - accepted_;
  const MutexLock lock(mutex_);
  BlockReport& report = reports_[pass.block];
  switch (pass.kind) {
    case scheduler::PassKind::kEncodePrompt:
      prompt_ = pass.prompt;
      report.stages.text += took;
      break;
    case scheduler::PassKind::kDenoise:
      if (pass.step == 1) {
        report.start = pass.started - accepted_;
        report.steps = form.steps;
        report.decoder = form.decoder;
        report.prompt = prompt_;
      }
      report.denoise = ended;
      report.stages.denoise += took;
      break;
    case scheduler::PassKind::kCommit:
      report.commit = ended;
      report.stages.commit += took;
      break;
    case scheduler::PassKind::kDecode:
      report.decode = ended;
      report.stages.decode += took;
      break;
    case scheduler::PassKind::kSave:
    case scheduler::PassKind::kRestore:
      break;  // of no block
  }
}

BlockReport BlockRecords::Get(int block) const {
  const MutexLock lock(mutex_);
  const auto found = reports_.find(block);
  return found == reports_.end() ? BlockReport{} : found->second;
}

BlockReport BlockRecords::Take(int block) {
  const MutexLock lock(mutex_);
  const auto found = reports_.find(block);
  if (found == reports_.end()) return {};
  BlockReport report = std::move(found->second);
  reports_.erase(found);
  return report;
}

}  // namespace longtake::server
