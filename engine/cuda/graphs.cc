#include "engine/cuda/graphs.h"

#include <algorithm>
#include <utility>

namespace longtake::cuda {

void PassGraphs::Run(const std::function<void()>& calls) {
  if (launcher_.mode() != Launcher::Mode::kLaunch) return calls();  // planning
  ++counts_.listed;
  LaunchList list;
  staging_.GatherTables();
  launcher_.ListFromNowOn(&list);
  calls();
  launcher_.LaunchFromNowOn();
  if (!staging_.SendTables()) {
    ++counts_.too_large;
    return calls();
  }
  if (!launcher_.ok()) return;

  if (Entry* found = Find(list.identity()); found != nullptr) {
    found->used = counts_.listed;
    if (found->graph.get() == nullptr) {
      found->graph = Capture(list);
      ++counts_.captured;
    } else {
      ++counts_.replayed;
    }
    if (launcher_.ok()) launcher_.Check(cudaGraphLaunch(found->graph.get(), launcher_.stream()), "graph");
    return;
  }
  if (entries_.size() == most_) {
    const auto oldest = std::min_element(entries_.begin(), entries_.end(),
                                         [](const Entry& a, const Entry& b) { return a.used < b.used; });
    // It may still be running.
    if (oldest->graph.get() != nullptr) launcher_.Check(cudaStreamSynchronize(launcher_.stream()), "graph");
    entries_.erase(oldest);
    ++counts_.evicted;
  }
  entries_.push_back({.key = list.identity(), .used = counts_.listed, .graph = {}});
  LaunchAll(list);
}

PassGraphs::Entry* PassGraphs::Find(const std::string& key) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
  return found == entries_.end() ? nullptr : &*found;
}

void PassGraphs::LaunchAll(const LaunchList& list) {
  for (const LaunchList::Entry& e : list.entries()) {
    if (!launcher_.Bind() || !launcher_.Check(e.launch(launcher_.stream()), e.name)) return;
  }
}

GraphExec PassGraphs::Capture(const LaunchList& list) {
  if (!launcher_.Bind()) return {};
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  if (!launcher_.Check(cudaStreamBeginCapture(launcher_.stream(), cudaStreamCaptureModeThreadLocal), "capture")) {
    return {};
  }
  LaunchAll(list);
  launcher_.Check(cudaStreamEndCapture(launcher_.stream(), &graph), "capture");
  if (launcher_.ok()) launcher_.Check(cudaGraphInstantiate(&executable, graph, 0), "graph");
  if (graph != nullptr) cudaGraphDestroy(graph);
  return GraphExec(executable);
}

}  // namespace longtake::cuda
