// Questions to the kernel and their answers, by number.

const PATIENCE_MS = 120_000;

export class Questions {
  constructor(model) {
    this.model = model;
    this.open = new Map();
    this.last = 0;
  }

  // Resolves to {problem, …, data: Uint8Array}; never rejects.
  ask(op, details = {}) {
    const id = ++this.last;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.settle({ id, problem: "the kernel did not answer" }), PATIENCE_MS);
      this.open.set(id, { resolve, timer });
      this.model.send({ op, id, ...details });
    });
  }

  settle(reply, data) {
    const question = this.open.get(reply.id);
    if (!question) return;
    this.open.delete(reply.id);
    clearTimeout(question.timer);
    question.resolve({ ...reply, data: data ?? new Uint8Array() });
  }
}
