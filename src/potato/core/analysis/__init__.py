"""What can be proven of rules without an event: whether one can ever be true, and whether others always cover it.

A rule becomes terms, each a conjunction of clauses; a term is satisfiable if one event fulfils all of its clauses, and then that
event is found (a *witness*, which the rule's own evaluator confirms). Fields are taken as independent of one another, except that
the event decides which fields and actions there are.
"""

from potato.core.analysis.budget import Budget, Cut
from potato.core.analysis.cover import covering
from potato.core.analysis.terms import Clause, Term, terms
from potato.core.analysis.witness import Undecided, witness

__all__ = ["Budget", "Clause", "Cut", "Term", "Undecided", "covering", "terms", "witness"]
