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
    if (found->graph.get() != nullptr) {
      ++counts_.replayed;
    } else if (!found->refused) {
      found->graph = Capture(list);
      found->refused = found->graph.get() == nullptr;
      ++(found->refused ? counts_.refused : counts_.captured);
    }
    if (found->refused) return LaunchAll(list);
    if (launcher_.Bind()) launcher_.Check(cudaGraphLaunch(found->graph.get(), launcher_.stream()), "graph");
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
  cudaError_t error = cudaStreamBeginCapture(launcher_.stream(), cudaStreamCaptureModeThreadLocal);
  if (error == cudaSuccess) {
    for (const LaunchList::Entry& e : list.entries()) {
      if (error == cudaSuccess) error = e.launch(launcher_.stream());
    }
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(launcher_.stream(), &graph);
    if (error == cudaSuccess) error = ended;
    cudaGraphExec_t executable = nullptr;
    if (error == cudaSuccess) error = cudaGraphInstantiate(&executable, graph, 0);
    if (graph != nullptr) cudaGraphDestroy(graph);
    if (error == cudaSuccess) return GraphExec(executable);
  }
  cudaGetLastError();  // the runtime's note of it, which a later call would return
  return {};
}

}  // namespace longtake::cuda
