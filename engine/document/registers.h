// A document as a join of registers: what is merged, synced and stored. The body that users see is a pure function
// of it, so replicas that saw the same writes hold equal bodies, to the byte, in whatever order the writes came.
//
// The rules (design section 7):
// - Each leaf path holds one register: the write with the highest (life, stamp, hash of the value) ever seen there.
// - A document's life is a causal length merged by max with its stamp: odd is alive, even is deleted. A register
//   belongs to the life it was written in, and an older life than the document's hides it.
// - A register is hidden by an ancestor's register with a higher stamp, whatever that holds (tombstones and values
//   that are hidden themselves hide too). Registers hidden this way, or by life, can never come back: they are dropped.
// - A visible descendant makes its parent an object: a scalar or array with a visible register below it is not shown.
//   It is kept, because the descendant may be removed later.
// - Keys are ordered by (creation stamp, name). A register carries the stamp at which its key was created; the key of
//   an object that has no register of its own (or a tombstone) was created with the oldest register below it,
//   tombstones aside.
// - Removing a field or a subtree writes one tombstone at its path; emptying an object writes "{}" there; an object
//   that replaces another kind of value writes "{}" at its path first and then its leaves.
//
// Losing values. Write w covers value v if it is at v's path or above it, or is a life change to a later life; w
// supersedes v if it covers v and its writer had seen v. A value (not a tombstone, not "{}") is *lost* if it is not
// visible and no write supersedes it. Lost values go to `rescue`; all replicas that saw the same writes in any causal
// order agree on the set. Writes must be applied in causal order (a channel delivers so); repeats are harmless.
//
// A local write that a later local write supersedes before any peer had it is never sent: the later one covers all that
// it covered and had seen all that it had seen. One that a concurrent write hides first must still be sent, because
// it may supersede what the concurrent one does not: values as lost values, the others as `overtaken`.
//
// Threads: values; no sharing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/document/stamp.h"
#include "foreshore/status.h"

namespace foreshore {

struct Register {
  std::uint32_t life = 1;  // The document's causal length when it was written; odd.
  Stamp stamp;
  Stamp creation;  // Of its key; equal to `stamp` where the key was new.
  bool is_tombstone = false;
  std::string value;  // JSON token, array text or "{}"; empty for a tombstone.

  friend bool operator==(const Register&, const Register&) = default;
};

// The writes of one transaction to one document, as they travel. All share (hlc, session); ops differ.
struct WriteGroup {
  std::uint64_t hlc = 0;
  SessionKey session;
  std::uint32_t op_last = 0;  // Highest op of the group, so that the dot covers all of it.
  VersionVector seen;         // What the writer had seen of this document, without this group.
  std::uint32_t life = 1;     // The document's causal length after this group.
  bool changes_life = false;  // Creation, deletion, re-creation: then life_stamp is this group's.
  std::uint32_t life_op = 0;
  std::vector<std::pair<std::string, Register>> writes;  // (path, register); registers' stamps are this group's.

  Stamp dot() const { return {hlc, session, op_last}; }
  bool empty() const { return writes.empty() && !changes_life; }  // Nothing to join or send.
};

// All that one change says about one document; groups in ascending (hlc, session).
struct DocumentChange {
  std::string id;
  std::vector<WriteGroup> groups;
};

// A value that lost concurrently.
struct LostValue {
  std::string path;
  Register value;

  friend bool operator==(const LostValue&, const LostValue&) = default;
};

// Ids of lost values are equal on every replica: SHA-256 over collection, document, path and losing stamp, 32 bytes.
ByteString RescueId(std::string_view collection, std::string_view document_id, const std::string& path,
                    const Stamp& stamp);

struct DocumentState {
  std::string id;
  std::uint32_t life = 0;  // 0: never existed.
  Stamp life_stamp;
  std::map<std::string, Register> registers;
  VersionVector seen;
  // Local writes that no peer has acknowledged keep what they had seen: a local write with hlc <= boundary (and above
  // the previous entry's) had seen that vector; later ones `seen`. Added when a remote change arrives in between.
  struct SeenBefore {
    std::uint64_t hlc_boundary = 0;
    VersionVector seen;
    friend bool operator==(const SeenBefore&, const SeenBefore&) = default;
  };
  std::vector<SeenBefore> seen_history;
  // Local writes without a value (tombstones, "{}", life changes) that no peer has acknowledged and that a concurrent
  // write hid. They change nothing here any more, but BuildChange sends them.
  struct Overtaken {
    bool is_life_change = false;  // Then only life and stamp of `write` count, and `path` is empty.
    std::string path;
    Register write;
    friend bool operator==(const Overtaken&, const Overtaken&) = default;
  };
  std::vector<Overtaken> overtaken;

  bool alive() const { return life % 2 == 1; }
  friend bool operator==(const DocumentState&, const DocumentState&) = default;
};

// The body; empty text for a document that is not alive. Pure. "{}" for an alive document without visible registers.
std::string Materialise(const DocumentState& state);
// Paths and registers that are visible, in path order.
std::vector<std::pair<std::string, const Register*>> VisibleRegisters(const DocumentState& state);

// What applying a change did.
struct JoinOutcome {
  bool changed = false;              // The state differs from before (its body may be equal).
  std::vector<LostValue> lost;       // To add to the document's rescued values.
  std::vector<LostValue> recovered;  // Of those given in `rescued`: now superseded or visible again, to be removed.
};

// Which writes a state must remember the circumstances of, because a peer will need them: those of our own sessions
// that no peer has acknowledged. Where `is_local` is empty, any session may be ours: right, but records grow.
struct LocalSessions {
  std::function<bool(const SessionKey&)> is_local;
  std::uint64_t acknowledged_hlc = 0;  // Of our writes, those up to here are at the peer.
};

// Joins one group into the state. `rescued`: the lost values kept for this document so far. Used for local and for
// remote writes. kInvalidArgument for a group that contradicts itself (op above op_last, life of the wrong parity, path
// too long, value not normalised JSON); the state is unchanged then.
Result<JoinOutcome> JoinGroup(DocumentState& state, const WriteGroup& group, const std::vector<LostValue>& rescued,
                              const LocalSessions& local = {});

// Local writes. Each returns the group to join; `hlc` and `session` stamp it; `first_op` is the next free op of the
// transaction (a transaction's writes to several documents share one hlc and one run of ops).
// An empty group (no writes, no life change) means nothing differs.

// `base_body` is the normalised body that the caller read, empty for "does not exist"; `body` the new one. Only paths
// that differ are written. `current` is the document's present state; creation stamps of kept keys come from it.
// `base_seen` is what the caller had seen; pass current.seen where it read the present state.
// Where the document is not alive any more and the texts differ, all of `body` is written into a new life.
WriteGroup DiffPut(const DocumentState& current, std::string_view base_body, const VersionVector& base_seen,
                   std::string_view body, std::uint64_t hlc, const SessionKey& session, std::uint32_t first_op);
WriteGroup MakeDelete(const DocumentState& current, std::uint64_t hlc, const SessionKey& session,
                      std::uint32_t first_op);

// The groups of `state` (and of `unshared`, its lost values; those of others or already acknowledged are left out)
// that were written by one of our own sessions after `acknowledged_hlc`, ready to send, each with what it had seen.
DocumentChange BuildChange(const DocumentState& state, const std::vector<LostValue>& unshared,
                           const std::function<bool(const SessionKey&)>& is_local, std::uint64_t acknowledged_hlc);

// Everything visible or remembered, as groups, for a peer that has nothing.
DocumentChange BuildFullChange(const DocumentState& state);

}  // namespace foreshore
